"""The inference server: a supervisor and its workers per deployment, alive without the agent.

``python -m mlops_tui.serving.supervisor --dir DIR`` serves what ``routes.json`` in the folder names. The supervisor
holds the listening sockets and the unsealed models; workers answer requests and log them to segments. Neither opens
the store.

A request goes through four parts of a worker, which know of each other only downwards:

- *transport*: ``front`` and ``connection`` (HTTP on a socket), ``asgi`` and ``grpc_server`` beside them. Bytes become a
  method, a target, headers and a body; limits, order and back-pressure are theirs.
- *application*: ``app``, which no transport is seen from: ``admit`` a head, ``ask`` a body, ``settle`` what was asked.
- *protocols*: ``oip`` and ``table`` make a ``call.Call`` of a body, and an answer of what a run gave.
- *prediction*: ``predict`` takes calls as tickets, picks an arm for each (``routing``, ``toggling``), runs those of one
  turn together (``results`` cuts them up again) or sends them to a ``pool``, and has a ``witness`` count and log.

Around these is the ``worker``, the life of the process: it obeys the supervisor at the other end of its ``line``,
``holding`` has the models and loads them, a ``plan`` is a route set made ready to answer, and ``listening`` brings
connections to the front. The supervisor sees its workers as a ``fleet`` on ``seats``.

The seam to models is ``model.Model``: ``check`` tensors, ``run`` them, say whether that ``takes_long`` and whether rows
``joins``. Whatever has these methods can be served; where it runs is nobody's business above it.
"""
