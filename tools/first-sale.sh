#!/bin/sh
# From nothing to a first paid answer with keys of one's own, on a local chain that has the id of Base Sepolia. Prints each command with
# the seconds it took, and how many there were. Starts only what it ends.
#   tools/first-sale.sh [PATH OF candor]
set -eu
candor=$(realpath "${1:-target/release/candor}")
here=$(mktemp -d)
cd "$here"
pids=
end() { for pid in $pids; do kill "$pid" 2>/dev/null || true; done; wait; cd /; rm -rf "$here"; }
trap end EXIT INT TERM
count=0
begun=$(date +%s%N)

# Runs one command; what it says is kept in out.
run() {
    count=$((count + 1))
    from=$(date +%s%N)
    "$candor" --state "$here/state" --json "$@" > out 2> err || { cat out err >&2; exit 1; }
    printf '%6d ms  candor %s\n' "$((($(date +%s%N) - from) / 1000000))" "$*"
}

# Starts one that goes on, and waits for its first line, which is kept in out.
start() {
    count=$((count + 1))
    from=$(date +%s%N)
    "$candor" --state "$here/state" --json "$@" > "log$count" 2> "err$count" &
    pids="$! $pids"
    while ! [ -s "log$count" ]; do kill -0 "$!" 2>/dev/null || { cat "err$count" >&2; exit 1; }; sleep 0.05; done
    head -n 1 "log$count" > out
    printf '%6d ms  candor %s &\n' "$((($(date +%s%N) - from) / 1000000))" "$*"
}

# A member of what was said, wherever it is.
member() { tr ',{[' '\n\n\n' < out | sed -n "s/^\"$1\":\"\{0,1\}\([^\"}]*\).*/\1/p" | sed -n "${2:-1}p"; }

umask 077
echo of-this-run > passphrase
run wallet new deployer.json --passphrase-file passphrase
deployer=$(member address)
run wallet new attestor.json --passphrase-file passphrase
attestor=$(member address)
port=$(shuf -i 20000-31999 -n 1)
rpc="http://127.0.0.1:$port"
run init node --yes --chain-id 84532 --rpc "$rpc" --asset TestUSD --attestor "http://127.0.0.1:$((port + 1))" \
    --listen "127.0.0.1:$((port + 2))" --log-listen "127.0.0.1:$((port + 3))" --passphrase-file passphrase
operator=$(member address 1) registrar=$(member address 2) gas=$(member address 3) anchor=$(member address 4)
sed -i 's/^listen = "127.0.0.1:9464"/# &/' node/node.toml
start chain --port "$port" --chain-id 84532 --fund "$deployer" --fund "$registrar" --fund "$gas" --fund "$anchor"
run deploy --rpc "$rpc" --test-usd --attestor "$attestor" --key deployer.json --passphrase-file passphrase --out node/deployment.toml
run policy new --dev --deployment node/deployment.toml --operator "$operator" judge.toml
start attestor --key attestor.json --passphrase-file passphrase --policy judge.toml --deployment node/deployment.toml --rpc "$rpc" \
    --listen "127.0.0.1:$((port + 1))"
run doctor --config node/node.toml
start serve --config node/node.toml
run wallet new --passphrase-file passphrase
run wallet fund --rpc "$rpc" --key deployer.json --passphrase-file passphrase
run ask "What is a receipt?" --rpc "$rpc" --bundle answer.candor --passphrase-file passphrase
run verify answer.candor --rpc "$rpc"
outcome=$(tr ',{[' '\n\n\n' < out | sed -n 's/^"outcome":"\([a-z ]*\)".*/\1/p')
printf '%6d ms  in all, %d commands: %s, %s units charged\n' "$((($(date +%s%N) - begun) / 1000000))" "$count" "$outcome" "$(member charged)"
