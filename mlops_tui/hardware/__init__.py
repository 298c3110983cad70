"""What a machine is and how busy it is: facts, samples, GPUs by NVML, cgroup limits, process identity."""
