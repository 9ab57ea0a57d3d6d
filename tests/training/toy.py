"""A small adversarial training with all that must survive a kill: BatchNorm, dropout, a teacher, a queue, two goals.

``python toy.py FOLDER RESULT STEPS`` trains it, prints each step that is done, and saves all weights.
"""

import copy
import sys
from pathlib import Path

import torch
from torch import nn

from lowshot.training.loop import Goal, train
from lowshot.training.run import Run
from lowshot.training.schedules import cosine


class Queue:
    """The last sixteen means, as a contrastive method keeps features."""

    def __init__(self):
        self.values = torch.zeros(16)

    def push(self, value):
        self.values = torch.cat([self.values[1:], value.detach().float().reshape(1)])

    def state_dict(self):
        return {"values": self.values}

    def load_state_dict(self, state):
        self.values = state["values"]


class Toy:
    def __init__(self, run):
        self.run = run
        with run.seeded("weights"):
            self.generator = nn.Sequential(
                nn.Conv2d(1, 8, 3, padding=1),
                nn.BatchNorm2d(8),
                nn.ReLU(),
                nn.Dropout(0.3),
                nn.Conv2d(8, 1, 3, padding=1),
            )
            self.critic = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 1, 3))
        self.teacher = run.place(copy.deepcopy(self.generator)).requires_grad_(False)
        self.queue = Queue()
        self.frozen_during = {"generate": set(), "judge": set()}

    def batch(self, step, generator):
        return self.run.tensor(torch.randn(2, 1, 12, 12, generator=generator))

    def generate(self, image, done):
        self.frozen_during["generate"] |= {p.requires_grad for p in self.critic.parameters()}
        made = self.generator(image)
        with torch.no_grad():
            target = self.teacher(image)
        away = (made.mean() - self.queue.values.mean()).square()
        return {"fool": -self.critic(made).mean(), "teacher": (made - target).square().mean() + away}

    def judge(self, image, done):
        self.frozen_during["judge"] |= {p.requires_grad for p in self.generator.parameters()}
        return {"critic": self.critic(self.generator(image)).mean() - self.critic(image).mean()}

    def after_step(self, step):
        with torch.no_grad():
            for slow, fast in zip(self.teacher.parameters(), self.generator.parameters(), strict=True):
                slow.lerp_(fast, 0.1)
        self.queue.push(next(self.generator.parameters()).mean())

    def train(self, steps, on_step=lambda step: None, **settings):
        def after_step(step):
            self.after_step(step)
            on_step(step)

        goals = [
            Goal(
                self.generate,
                self.generator,
                torch.optim.Adam(self.generator.parameters(), 1e-2),
                schedule=cosine(warmup=0.1),
                clip_norm=1.0,
                name="generator",
            ),
            Goal(self.judge, self.critic, torch.optim.SGD(self.critic.parameters(), 1e-2, 0.9), name="critic"),
        ]
        state = {"teacher": self.teacher, "queue": self.queue}
        train(goals, self.batch, steps=steps, run=self.run, state=state, after_step=after_step, **settings)

    def weights(self):
        parts = {"generator": self.generator, "critic": self.critic, "teacher": self.teacher, "queue": self.queue}
        return {f"{name} {key}": v.clone() for name, part in parts.items() for key, v in part.state_dict().items()}


def toy_run(folder, **settings):
    return Run(device="cpu", precision="float32", memory_format="contiguous", threads=1, folder=folder, **settings)


def same(weights, others):
    return weights.keys() == others.keys() and all(torch.equal(weights[name], others[name]) for name in weights)


def main():
    folder, result, steps = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    toy = Toy(toy_run(folder))
    toy.train(steps, on_step=lambda step: print(step, flush=True), checkpoint_every_seconds=0.0)
    torch.save(toy.weights(), result / f"{toy.run.rank}.pt")


if __name__ == "__main__":
    main()
