r"""Send requests to an endpoint at a constant rate until told to stop, and write down every answer.

The key is in the environment variable ENDPOINT_KEY. Requests are sent when they are due, whatever became of those
before (an open loop), so that a slow endpoint is not spared. Each request becomes a line of JSON, whatever became of
it: when it was asked for and when the answer was there (seconds since 1970), the status, and the name of the model that
answered or the error. The last line says how many were sent.

Example:
    ENDPOINT_KEY=… python benchmarks/load.py --uri http://127.0.0.1:1234/endpoints/soak/score --rate 60 \
        --answers answers.jsonl
"""

import argparse
import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, TextIO

import httpx

TIMEOUT_SECONDS = 60.0
TEXTS = ("where is my parcel", "I was charged twice", "nothing has arrived", "who charged my card")


async def send_one(client: httpx.AsyncClient, uri: str, number: int) -> dict[str, Any]:
    """Send a request; return the line for it."""
    began = time.time()
    body = {"input_data": [{"text": TEXTS[number % len(TEXTS)]}]}
    try:
        answer = await client.post(uri, json=body)
    except httpx.HTTPError as error:
        return {"began": began, "ended": time.time(), "error": repr(error)}
    line: dict[str, Any] = {"began": began, "ended": time.time(), "status": answer.status_code}
    model = read_model(answer) if answer.is_success else None
    return line | ({"error": answer.text[:300] or answer.reason_phrase} if model is None else {"model": model})


def read_model(answer: httpx.Response) -> str | None:
    """Read which model answered; None when the answer is not what a model of the soak answers."""
    try:
        value = answer.json()
    except ValueError:
        return None
    row = value[0] if isinstance(value, list) and len(value) == 1 else None
    model = row.get("model") if isinstance(row, dict) else None
    return model if isinstance(model, str) else None


async def send(uri: str, rate: float, answers: TextIO) -> None:
    """Send until SIGTERM; then wait for the answers under way.

    Args:
        uri: The endpoint.
        rate: Requests per second.
        answers: Where lines go.
    """
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    headers = {"Authorization": f"Bearer {os.environ['ENDPOINT_KEY']}"}
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=50)
    async with httpx.AsyncClient(headers=headers, timeout=TIMEOUT_SECONDS, limits=limits, trust_env=False) as client:

        async def send_and_note(number: int) -> None:
            answers.write(json.dumps(await send_one(client, uri, number)) + "\n")

        began, number = time.monotonic(), 0
        # Should one of them fail for a reason of its own, the process ends with an error, and no line is missed.
        async with asyncio.TaskGroup() as pending:
            while not stopping.is_set():
                pending.create_task(send_and_note(number))
                number += 1
                await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
    answers.write(json.dumps({"sent": number}) + "\n")


def main(arguments: list[str]) -> int:
    """Run the load; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--uri", required=True)
    parser.add_argument("--rate", type=float, required=True, help="requests per second")
    parser.add_argument("--answers", type=Path, required=True)
    options = parser.parse_args(arguments)
    with options.answers.open("w", encoding="utf-8") as answers:
        asyncio.run(send(options.uri, options.rate, answers))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
