"""The tuner: how a model is best served here, by measuring every candidate side by side with fp32.

No rule of thumb survives: int8 is faster on one model and slower on the next, more threads help or hurt, waiting for
more requests rarely pays. So candidates (:mod:`~mlops_tui.pipelines.tuning.grid`) are run through the servers' own
path, from the bytes of a request to the bytes of its answer (:mod:`~mlops_tui.pipelines.tuning.bench`), each several
times and in turn (:mod:`~mlops_tui.pipelines.tuning.measure`); what changes answers too much is out
(:mod:`~mlops_tui.pipelines.tuning.reference`); and the best of the rest wins only if measurements made anew, after it
was picked, show it to be better than fp32 (:mod:`~mlops_tui.pipelines.tuning.verdict`).

The network is not in it: it costs the same for every candidate.
"""
