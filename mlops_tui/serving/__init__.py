"""The inference server: a supervisor and its workers per deployment, alive without the agent.

``python -m mlops_tui.serving.process.supervisor --dir DIR`` serves what ``routes.json`` in the folder names. The
supervisor holds the listening sockets and the unsealed models; workers answer requests and log them to segments.
Neither opens the store.

The folders are floors, which know of each other only downwards:

- *process*: the ``supervisor`` sees its workers as a ``fleet`` on ``seats``, takes them from one route set to the next
  (``changeover``) and says in its ``statement`` what is served; a ``worker`` is the life of a process, and obeys the
  supervisor at the other end of its ``line``. ``alone`` is a server without a deployment.
- *transport*: ``front`` and ``connection`` (HTTP on a socket), ``asgi`` and ``grpc_server`` beside them. Bytes become a
  method, a target, headers and a body; limits, order and back-pressure are theirs; ``listening`` brings connections.
- *protocol*: ``app``, which no transport is seen from: ``admit`` a head, ``ask`` a body, ``settle`` what was asked.
  ``oip`` and ``table`` make a ``call.Call`` of a body, and an answer of what a run gave.
- *traffic*: ``predict`` takes calls as tickets, picks an arm for each (``routing``, ``toggling``), runs those of one
  turn together (``results`` cuts them up again), and has a ``witness`` count and log; a ``plan`` is a route set made
  ready to answer.
- *models*: ``holding`` has the models and loads them; long runs go to a ``pool``. The seam is ``model.Model``:
  ``check`` tensors, ``run`` them, say whether that ``takes_long`` and whether rows ``joins``. Whatever has these
  methods can be served; where it runs is nobody's business above it.
- *record*: ``counters`` in shared memory and the ``inference_log`` in ``segments``, many ``rows`` in one go.

What all of them speak of stands beside the folders: the folder of a ``deployment``, ``tensors``, ``bodies``, a
``problem``, ``control`` messages, ``tls``, and what a ``child`` process is given.
"""
