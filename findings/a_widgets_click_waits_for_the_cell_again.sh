#!/usr/bin/env bash
# A widget's message that the front end sends to a subshell waits for the running cell all the same (ipykernel 7.4).
#
# One expects: since ipykernel 7 a kernel has subshells, and JupyterLab (from 4.4 on) sends what is clicked on a widget to
# one, so that a Cancel button works while the cell that it shall cancel is running.
# What happens: from 7.4 on a comm notes from which shell its last message to the browser was sent, and everything from the
# browser for that comm is handled there, whatever subshell the message names. A widget that was made, or last changed, by
# a cell answers in the main shell: when the cell is over. 7.3 handles the message where it was sent to.
#
# Seen with ipykernel 7.4.0 and 7.3.0, jupyter_client 8.10.0 (a cell of 4 s, the message sent after 1 s):
#   7.3.0: handled in a subshell, before the cell's end; 7.4.0: handled in the main thread, after the cell's end
# Exits with 1 when that is not so any more.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
cat > "$folder/ask.py" <<'PY'
import sys
import time

from jupyter_client.manager import start_new_kernel

CODE = """
import threading, time, comm
seen = []
def note(message):
    seen.append((threading.current_thread() is threading.main_thread(), time.monotonic()))
button = comm.create_comm(target_name="a button")  # tells the browser: a message from the main shell
button.on_msg(note)
print(button.comm_id)
"""
LONG = "time.sleep(4)\nended = time.monotonic()"
TOLD = "print('main' if seen[0][0] else 'subshell', 'before' if seen[0][1] < ended else 'after')"


def printed(client, code):
    lines = []
    client.execute_interactive(code, output_hook=lambda m: lines.append(m["content"].get("text", "")), timeout=60)
    return "".join(lines).strip()


manager, client = start_new_kernel(kernel_name="python3")
try:
    ask = client.session.msg("create_subshell_request", {})
    client.control_channel.send(ask)
    subshell = client.control_channel.get_msg(timeout=30)["content"]["subshell_id"]
    button = printed(client, CODE)
    client.execute(LONG)
    time.sleep(1)
    click = client.session.msg("comm_msg", {"comm_id": button, "data": {"method": "custom", "content": "clicked"}})
    click["header"]["subshell_id"] = subshell
    client.shell_channel.send(click)
    time.sleep(5)
    print(printed(client, TOLD))
finally:
    client.stop_channels()
    manager.shutdown_kernel(now=True)
PY
told() {
  python3 -m venv "$folder/$1"
  "$folder/$1/bin/pip" install --quiet "ipykernel==$1" jupyter_client==8.10.0 2>/dev/null
  PATH="$folder/$1/bin:$PATH" JUPYTER_DATA_DIR="$folder/none" "$folder/$1/bin/python" "$folder/ask.py"
}
before=$(told 7.3.0) now=$(told 7.4.0)
echo "ipykernel 7.3.0: $before the cell's end"
echo "ipykernel 7.4.0: $now the cell's end"
[ "$before" = "subshell before" ] && [ "$now" = "main after" ]
