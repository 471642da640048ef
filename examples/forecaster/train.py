"""Train a forecaster on readings of a greenhouse: temperature and humidity of the next hour.

Writes forecaster.pt, its weights, and greenhouse.csv, ten days of readings that it has not seen.
"""

import csv
from datetime import datetime, timedelta

import torch
from torch import nn

SENSORS = ["temp", "humidity"]
HOURS, UNSEEN = 60 * 24, 10 * 24


class Forecaster(nn.Module):
    """Forecasts the next reading from all readings so far."""

    def __init__(self, hidden_size: int = 32) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(len(SENSORS)))
        self.register_buffer("std", torch.ones(len(SENSORS)))
        self.gru = nn.GRU(len(SENSORS), hidden_size, batch_first=True)
        self.head = nn.Linear(hidden_size, len(SENSORS))

    def forward(
        self, readings: torch.Tensor, state: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Take readings, (batch, hours, sensors); return a forecast for each next hour."""
        outputs, state = self.gru((readings - self.mean) / self.std, state)
        return readings + self.head(outputs) * self.std, state


def make_readings() -> torch.Tensor:
    """Return hourly readings, (hours, sensors): days, weather, and noise of the sensors."""
    weather = torch.zeros(HOURS)
    for hour in range(1, HOURS):
        weather[hour] = 0.97 * weather[hour - 1] + 0.3 * torch.randn(())
    angle = 2 * torch.pi * torch.arange(HOURS) / 24
    temp = 20 + 6 * torch.sin(angle - 2.4) + weather
    humidity = 65 - 15 * torch.sin(angle - 2.9) - 2 * weather
    return torch.stack([temp, humidity], 1) + 0.1 * torch.randn(HOURS, len(SENSORS))


def train(model: Forecaster, readings: torch.Tensor, rounds: int = 300) -> float:
    """Train on random windows of four days; return the last loss."""
    model.mean.copy_(readings.mean(0))
    model.std.copy_(readings.std(0))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(rounds):
        starts = torch.randint(len(readings) - 96, (32,))
        windows = torch.stack([readings[start : start + 97] for start in starts])
        forecasts, _ = model(windows[:, :-1])
        loss = nn.functional.mse_loss(forecasts / model.std, windows[:, 1:] / model.std)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()


def write_csv(name: str, readings: torch.Tensor) -> None:
    """Write readings as a logger does, with the time and the voltage of its battery."""
    with open(name, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["time", *SENSORS, "battery"])
        for hour, (temp, humidity) in enumerate(readings.tolist()):
            time = datetime(2026, 5, 1) + timedelta(hours=hour)
            writer.writerow([f"{time:%Y-%m-%d %H:%M}", f"{temp:.1f}", f"{humidity:.1f}", "4.1"])


if __name__ == "__main__":
    torch.manual_seed(0)
    readings = make_readings()
    known, unseen = readings[:-UNSEEN], readings[-UNSEEN:]
    model = Forecaster()
    print(f"loss {train(model, known):.3f}")

    with torch.no_grad():
        forecasts, _ = model(unseen[None, :-1])
    off = (forecasts[0] - unseen[1:]).abs().mean(0)
    print(f"the next hour is off by {off[0]:.1f} °C and {off[1]:.1f} % humidity")

    torch.save(model.state_dict(), "forecaster.pt")
    write_csv("greenhouse.csv", unseen)
    print("wrote forecaster.pt and greenhouse.csv")
