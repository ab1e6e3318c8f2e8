"""Whether packaging/compose.yaml is a compose file, and keeps what its services are said to keep.

The first is told by the package `compose-spec`, which knows the specification. It does not fill in variables; that is done here, as Compose
does before it reads. Ends with an error that names the service and the rule. Then each rule is broken once: one that does not notice is none.
"""

import re
import sys

import compose_spec

VARIABLE = re.compile(r"\$\{(\w+)(:-([^}]*)|:\?[^}]*)?\}")


def read(text):
    # A variable that is required is a path.
    filled = VARIABLE.sub(lambda found: found[3] if (found[2] or "").startswith(":-") else "/given/" + found[1], text)
    return compose_spec.PyCompose.from_yaml(filled).to_dict()


def published(port):
    """The address that a port is published on, or none."""
    if isinstance(port, dict):
        return port.get("host_ip")
    parts = str(port).rsplit(":", 2)
    return parts[0] if len(parts) == 3 else None


def problems(compose):
    out = []
    for name, service in compose["services"].items():
        def rule(holds, words):
            if not holds:
                out.append(f"{name}: {words}")

        rule(service.get("read_only") is True, "read_only: true")
        rule(list(service.get("cap_drop", [])) == ["ALL"] and not service.get("cap_add"), "cap_drop: ALL, and none added")
        rule("no-new-privileges:true" in service.get("security_opt", []), "no-new-privileges")
        rule(not service.get("privileged"), "not privileged")
        rule("pids_limit" in service and "mem_limit" in service, "limits of processes and memory")
        image = service.get("image", "")
        exact = re.fullmatch(r"[a-z0-9./-]+:v?\d+\.\d+\.\d+(@sha256:[0-9a-f]{64})?", image)
        rule("build" in service or exact, f"an exact tag, not {image}")
        for port in service.get("ports", []):
            rule(published(port) == "127.0.0.1", f"published on 127.0.0.1, not {port}")
        for volume in service.get("volumes", []):
            if isinstance(volume, dict):
                is_bind, is_read_only = volume["type"] == "bind", volume.get("read_only") is True
            else:
                is_bind, is_read_only = str(volume).startswith((".", "/")), str(volume).endswith(":ro")
            rule(not is_bind or is_read_only, f"nothing of the machine can be written, not {volume}")
    return out


BROKEN = [
    ("    read_only: true\n    tmpfs:", "    tmpfs:", "read_only"),
    ("      - ALL\n", "      - NET_RAW\n", "cap_drop"),
    ("no-new-privileges:true", "seccomp:unconfined", "no-new-privileges"),
    ("    pids_limit: 256\n", "", "limits"),
    ("prom/prometheus:v", "prom/prometheus:latest-v", "exact tag"),
    ("127.0.0.1:8443:8443", "8443:8443", "published on 127.0.0.1"),
    ("127.0.0.1:3000:3000", "0.0.0.0:3000:3000", "published on 127.0.0.1"),
    ("./grafana:/var/lib/grafana-dashboards:ro", "./grafana:/var/lib/grafana-dashboards", "can be written"),
    ("        target: /etc/candor\n        read_only: true\n", "        target: /etc/candor\n", "can be written"),
    ("    restart: unless-stopped\n", "    restarts: unless-stopped\n", "`restarts`"),
    ("      - ALL\n", "", "cap_drop"),
]


def main(path):
    with open(path, encoding="utf-8") as file:
        text = file.read()
    found = problems(read(text))
    if found:
        sys.exit("\n".join(f"{path}: {line}" for line in found))
    for old, new, word in BROKEN:
        if old not in text:
            sys.exit(f"{path}: has no {old!r} any more, which a rule was tried with")
        try:
            said = " ".join(problems(read(text.replace(old, new, 1))))
        except (ValueError, TypeError) as error:
            said = str(error)
        if word not in said:
            sys.exit(f"{path}: with {new!r} for {old!r}, expected a refusal with {word!r}, got {said!r}")
    print(f"{path}: a compose file; its rules hold, and each of {len(BROKEN)} ways to break one is refused")


main(sys.argv[1])
