import math

import wandb

for number in (1, 2):
    run = wandb.init(
        project="churn",
        name=f"seed-{number}",
        config={"lr": 0.1 * number, "net": {"layers": [3, 4], "act": "relu"}},
        tags=["seed", "small"],
        notes="a note",
        group="sweep",
        job_type="train",
        mode="offline",
        settings=wandb.Settings(x_disable_stats=number == 2),
    )
    for step in range(120 if number == 1 else 20):
        run.log(
            {
                "loss": 1 / (step + 1),
                "val": {"acc": 0.5 + step / 1000},
                "odd": [math.nan, math.inf, -math.inf][step % 3],
                "phase": "warm",
            },
            step=step * 2,
        )
    run.log({"hist": wandb.Histogram([1, 2, 3])})
    run.summary["best"] = 0.9
    run.config.update({"late": 5})
    print("trained")
    run.finish(exit_code=0 if number == 1 else 3)
