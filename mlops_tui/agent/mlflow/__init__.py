"""The MLflow wire: any MLflow 3.x client works against the agent, unchanged. A translation, no store of its own.

A request becomes one of our operations and goes through the door (:meth:`Call.perform`), so roles, plans and the
audit chain hold here too; what is only appended (metrics, parameters, tags) takes the journal (:mod:`.journal`). The
agent never imports mlflow.

To add a route, write a file beside these and name it in ``wire.MODULES``::

    class GetThing(Ask):                     # what comes in: body of a POST, query of a GET, and the path's {names}
        required = ("name",)                 # missing or empty: 400 INVALID_PARAMETER_VALUE, in MLflow's words
        name: str | None = None              # everything may be absent; ints and floats may come as text
        max_results: int | None = None

    @route("GET", "things/get", GetThing)    # below /api/2.0/mlflow and /ajax-api/2.0/mlflow; "/…" is a whole path
    def get_thing(call: Call, ask: GetThing) -> Any:
        with call.reading("thing:read") as session:             # checked like an operation that reads
            row = session.dict("SELECT …")
        call.perform(contract.thing.change, contract.Change(…))  # a change: through the door
        return {"thing": {…}}                # a dict or Struct becomes JSON; a Reply is sent as it is

Handlers run on a thread, one request each. Any MlopsError becomes MLflow's error shape (:mod:`.errors`); raise
``WireError("RESOURCE_DOES_NOT_EXIST", "…")`` where its kind would not say the right code. ``route(…, stream=True)``
hands over the body as it comes (:attr:`Call.body`) and may return a Reply with an iterator, for files of any size.
"""
