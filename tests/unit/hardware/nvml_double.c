/* A double of NVIDIA's management library, so that the real ctypes path of pynvml runs without a GPU.
   GPU 0 gives everything; GPU 1 has no power sensor and a thermometer that fails; GPU 2 has fallen off the bus. */
#include <stdlib.h>
#include <string.h>
#define OK 0
#define UNINITIALIZED 1
#define NOT_SUPPORTED 3
#define INSUFFICIENT_SIZE 7
#define DRIVER_NOT_LOADED 9
#define GPU_IS_LOST 15
#define UNKNOWN 999
typedef struct { unsigned long long total, free, used; } memory_t;
typedef struct { unsigned gpu, memory; } rates_t;
typedef struct { unsigned pid; unsigned long long used; unsigned instance, compute; } process_t;
static int open_count = 0;
static long index_of(void *handle) { return (long)handle - 1; }

int nvmlInitWithFlags(unsigned flags) {
    if (getenv("NVML_DOUBLE_NO_DRIVER")) return DRIVER_NOT_LOADED;
    open_count++;
    return OK;
}
int nvmlShutdown(void) { return open_count-- > 0 ? OK : UNINITIALIZED; }
const char *nvmlErrorString(int code) {
    return code == GPU_IS_LOST ? "GPU is lost" : code == DRIVER_NOT_LOADED ? "Driver Not Loaded" : "Unknown Error";
}
int nvmlSystemGetDriverVersion(char *out, unsigned size) { strncpy(out, "550.54.15", size); return OK; }
int nvmlDeviceGetCount_v2(unsigned *count) {
    char *wanted = getenv("NVML_DOUBLE_COUNT");
    *count = wanted ? (unsigned)atoi(wanted) : 3;
    return OK;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) {
    *handle = (void *)(long)(index + 1);
    return index == 2 ? GPU_IS_LOST : OK;
}
int nvmlDeviceGetName(void *handle, char *out, unsigned size) {
    strncpy(out, index_of(handle) ? "NVIDIA T4" : "NVIDIA H100 80GB HBM3", size);
    return OK;
}
int nvmlDeviceGetUUID(void *handle, char *out, unsigned size) {
    strncpy(out, index_of(handle) ? "GPU-bbbb" : "GPU-aaaa", size);
    return OK;
}
int nvmlDeviceGetMemoryInfo(void *handle, memory_t *out) {
    out->total = index_of(handle) ? 16ull << 30 : 80ull << 30;
    out->used = 61ull << 30 >> (index_of(handle) * 4);
    out->free = out->total - out->used;
    return OK;
}
int nvmlDeviceGetUtilizationRates(void *handle, rates_t *out) { out->gpu = 93 - 46 * index_of(handle); return OK; }
int nvmlDeviceGetTemperature(void *handle, unsigned sensor, unsigned *out) {
    *out = 71;
    return sensor != 0 || index_of(handle) ? UNKNOWN : OK;
}
int nvmlDeviceGetPowerUsage(void *handle, unsigned *milliwatts) {
    *milliwatts = 612500;
    return index_of(handle) ? NOT_SUPPORTED : OK;
}
int nvmlDeviceGetEnforcedPowerLimit(void *handle, unsigned *milliwatts) { *milliwatts = 700000; return OK; }
int nvmlDeviceGetComputeRunningProcesses_v3(void *handle, unsigned *count, process_t *out) {
    if (index_of(handle)) { *count = 0; return OK; }
    if (*count < 2) { *count = 2; return INSUFFICIENT_SIZE; }
    *count = 2;
    out[0] = (process_t){(unsigned)atoi(getenv("NVML_DOUBLE_PID") ? getenv("NVML_DOUBLE_PID") : "1"), 3ull << 30, 0, 0};
    out[1] = (process_t){4242, ~0ull, 0, 0};
    return OK;
}
