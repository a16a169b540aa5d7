"""Two torchrun agents on the loopback interface stand for two nodes; one worker is killed, and the run ends as if not.

python tests/two_nodes.py FOLDER
"""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from short_runs import differences, end_of, write_recipe
from two_processes import TWO, run


def agent(recipe: str, out: Path, port: int) -> subprocess.Popen:
    """One node's torchrun with one worker."""
    launcher = ["torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1", "--max-restarts", "3"]
    place = [
        "--rdzv-backend",
        "c10d",
        "--rdzv-endpoint",
        f"127.0.0.1:{port}",
        "--rdzv-id",
        "run",
        "--local-addr",
        "127.0.0.1",
    ]
    options = ["--resume", "auto", "--trainer.num_nodes", "2", "--trainer.devices", "1", "--trainer.strategy", "ddp"]
    command = ["-m", "metamixer", "fit", "--config", recipe, "--out", str(out), *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    with open(out.parent / "agents.log", "a") as log:
        return subprocess.Popen(
            [sys.executable, "-m", *launcher, *place, *command], env=environment, stdout=log, stderr=log
        )


def kill_worker_of(agent: subprocess.Popen, after: Path, *, seconds: float = 600) -> None:
    """Kill an agent's worker once a file is there."""
    end = time.monotonic() + seconds
    while not after.exists():
        assert time.monotonic() < end and agent.poll() is None, f"no {after}"
        time.sleep(0.1)
    children = Path(f"/proc/{agent.pid}/task/{agent.pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGKILL)


def main(folder: Path) -> None:
    recipe = write_recipe(folder / "recipe.yaml")
    run("fit", recipe, folder / "whole", *TWO)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    agents = [agent(recipe, folder / "run", port) for _ in range(2)]
    try:
        kill_worker_of(agents[1], folder / "run" / "last.ckpt")
        codes = [one.wait(timeout=900) for one in agents]
    finally:
        for one in agents:
            one.kill()
    assert codes == [0, 0], (folder / "agents.log").read_text()[-3000:]
    whole, restarted = end_of(folder / "whole"), end_of(folder / "run")
    del whole["random"], restarted["random"]
    assert differences(whole, restarted) == [], differences(whole, restarted)
    print("two nodes, one worker killed: equal to the unbroken run")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
