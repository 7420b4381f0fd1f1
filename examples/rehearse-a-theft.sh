#!/bin/sh
# A theft, rehearsed: what a council sees, and does, when the keys of its node
# are stolen. Real `tally` processes on this machine, made-up councils, less
# than a minute, nothing left behind.
#
#   sh examples/rehearse-a-theft.sh          takes `tally` from the path
#   TALLY=target/release/tally sh examples/rehearse-a-theft.sh
#
# Every step says what happens and why, and every claim is checked: exit code 0
# means that all of them hold. A node that is "cut off" is stopped here; what its
# partners see is the same.
set -eu

TALLY=${TALLY:-tally}
case $TALLY in
*/*) TALLY=$(cd "$(dirname "$TALLY")" && pwd)/$(basename "$TALLY") ;;
esac
unset TALLY_DATA

DIR=$(mktemp -d "${TMPDIR:-/tmp}/rehearsal.XXXXXX")
cd "$DIR"

# --- How the rehearsal is run -------------------------------------------------

# Stops only what was started here.
finish() {
    status=$?
    for file in *.pid; do
        if [ -e "$file" ]; then kill "$(cat "$file")" 2>/dev/null || true; fi
    done
    wait || true
    if [ "$status" != 0 ]; then tail -n 20 ./*.log >&2 2>/dev/null || true; fi
    cd / && rm -rf "$DIR"
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT TERM

step() { printf '\n== %s\n' "$1"; }
say() { printf '   %s\n' "$1"; }

# holds CLAIM COMMAND...: the command must succeed at once.
holds() {
    claim=$1
    shift
    if "$@"; then
        printf '   ok  %s\n' "$claim"
    else
        printf '   NOT TRUE: %s\n' "$claim" >&2
        exit 1
    fi
}

# comes CLAIM COMMAND...: the command must succeed within a minute.
comes() {
    claim=$1
    shift
    patience=300
    until "$@"; do
        patience=$((patience - 1))
        if [ "$patience" = 0 ]; then
            printf '   DID NOT HAPPEN: %s\n' "$claim" >&2
            for file in *.pid; do
                node=${file%.pid}
                printf '%s: ' "$node" >&2
                ask "$node" status >&2 || true
            done
            exit 1
        fi
        sleep 0.2
    done
    printf '   ok  %s\n' "$claim"
}

# refused FILE COMMAND...: the command must fail; what it says is in the file.
refused() {
    file=$1
    shift
    if "$@" >"$file" 2>&1; then return 1; fi
}

# --- What councils do ---------------------------------------------------------

# ask NODE COMMAND...: a command, answered in JSON.
ask() {
    node=$1
    shift
    "$TALLY" --data "$node" --json "$@"
}

# start NODE: runs it until `stop`, each time at the same port.
start() {
    port=$(cat "$1.port" 2>/dev/null || echo 0)
    rm -f "$1.ready"
    # Not by a function: its process would be the shell's, and stopping it not the node.
    "$TALLY" --data "$1" --json run --listen "/ip4/127.0.0.1/tcp/$port" --http 127.0.0.1:0 \
        >"$1.ready" 2>>"$1.log" &
    echo $! >"$1.pid"
    patience=300
    until [ -s "$1.ready" ]; do
        patience=$((patience - 1))
        if [ "$patience" = 0 ]; then
            printf '   %s does not start\n' "$1" >&2
            exit 1
        fi
        sleep 0.1
    done
    sed 's|.*/tcp/\([0-9]*\)".*|\1|' "$1.ready" >"$1.port"
}

stop() {
    kill "$(cat "$1.pid")"
    wait "$(cat "$1.pid")" || true
    rm "$1.pid"
}

# befriend ONE OTHER: both take the other's card.
befriend() {
    "$TALLY" --data "$1" whoami >"$1.card"
    "$TALLY" --data "$2" whoami >"$2.card"
    "$TALLY" --data "$1" partner add "$2.card" >/dev/null
    "$TALLY" --data "$2" partner add "$1.card" >/dev/null
}

contract() { printf '{ "title": "%s", "cpv": "48000000" }\n' "$1" >contract.json; }

# publish NODE TITLE: a contract. Prints its reference.
publish() {
    contract "$2"
    ask "$1" publish contract contract.json --public | sed 's/.*"ref":"\([^"]*\)".*/\1/'
}

# --- What can be seen ---------------------------------------------------------

# logs NODE: a line for each log: whose, generation, root, signed, size, state.
logs() {
    ask "$1" status |
        sed 's/"branches":\[[^]]*\],//g; s/.*"logs":\[\([^]]*\)\].*/\1/' |
        tr '}' '\n' | grep authority |
        sed 's/.*"authority":"\([^"]*\)".*"generation":\([0-9]*\),/\1 \2 /
            s/ "identity".*"root":"\([^"]*\)","signed":\([0-9]*\),"size":\([0-9]*\),/ \1 \2 \3 /
            s/ "space".*"state":"\([^"]*\)".*/ \1/' |
        sort
}

# log NODE AUTHORITY GENERATION: entries, signed entries and state of one log.
log() { logs "$1" | sed -n "s/^$2 $3 [0-9a-f]* \([0-9]*\) \([0-9]*\) \([a-zA-Z]*\)$/\2 \1 \3/p"; }

log_is() { [ "$(log "$1" "$2" "$3")" = "$4" ]; }

log_state() { log "$1" "$2" "$3" | grep -q " $4\$"; }

# connected NODE NUMBER
connected() {
    answer=$(ask "$1" status) || return 1
    [ "$(printf '%s\n' "$answer" | grep -o '"greeted":true' | wc -l)" -eq "$2" ]
}

# count NODE TITLE: how many contracts with this title a search finds.
count() {
    answer=$(ask "$1" search "$2") || return 1
    printf '%s\n' "$answer" | grep -o "\"title\":\"$2\"" | wc -l
}

# Whatever could not be asked has neither found it nor not found it.
finds() { found=$(count "$1" "$2") && [ "$found" -eq 1 ]; }
finds_not() { found=$(count "$1" "$2") && [ "$found" -eq 0 ]; }

# Ash, Oak and Elm have the same logs in the same state.
same_logs() {
    logs oak >oak.logs
    logs elm >elm.logs
    logs ash >ash.logs
    # Four logs, one of them in two generations.
    [ "$(wc -l <oak.logs)" -eq 5 ] && cmp -s oak.logs elm.logs && cmp -s oak.logs ash.logs
}

# ------------------------------------------------------------------------------

step 'Before: Ash Borough Council and its partners Oak and Elm'
say 'Ash makes its two controller keys on sticks for two safes: its server never has them.'
mkdir safe-1 safe-2 safe-3
(umask 077 && echo 'a passphrase that is kept in a third place' >passphrase)
"$TALLY" --data ash init --name 'Ash Borough Council' \
    --controllers safe-1 --next-controllers safe-2 --passphrase-file passphrase >/dev/null
"$TALLY" --data oak init --name 'Oak Borough Council' >/dev/null
"$TALLY" --data elm init --name 'Elm District Council' >/dev/null
ASH=$(ask ash whoami | sed 's/.*"authority":"\([^"]*\)".*/\1/')
start ash
start oak
start elm
befriend ash oak
befriend ash elm
befriend oak elm
HOUSING=$(publish ash 'Housing management system')
GROUNDS=$(publish ash 'Grounds maintenance')
MEALS=$(publish ash 'School meals')
for partner in oak elm; do
    comes "$partner has the three contracts of Ash" log_is "$partner" "$ASH" 0 '4 4 current'
done
holds 'a controller key is in safe 2' grep -q controller safe-2/*.key
holds 'the key of the log is on the server' test -s ash/keys/log.key
holds 'no controller key is on the server' refused said grep -r controller ash/keys

step 'The theft: somebody copies the whole disk of the server of Ash'
say 'The night: Ash and Oak are cut off. The thief runs the copy elsewhere; Elm takes it for Ash.'
stop ash
stop oak
cp -R ash thief
rm -f thief/api.addr thief/api.token
start thief
comes 'Elm is connected with the thief' connected elm 1
FORGED=$(publish thief 'Consultancy without a tender')
ask thief withdraw "$GROUNDS" >/dev/null
ask thief --yes erase "$MEALS" --reason mistake >/dev/null
comes 'Elm took the false contract, the withdrawal and the erasure' log_is elm "$ASH" 0 '7 7 current'
comes 'Elm finds the false contract' finds elm 'Consultancy without a tender'
comes 'Elm no longer finds the contract that was withdrawn' finds_not elm 'Grounds maintenance'
comes 'Elm no longer finds the contract that was erased' finds_not elm 'School meals'
say 'Elm hides it, and deletes it in three days. At once would take a controller, who does not sign.'
holds 'the thief has no key of a controller' refused said ask thief --yes erase "$HOUSING" \
    --reason mistake --with thief/keys/log.key
ask elm erase --status >said
holds 'Elm has not deleted it yet' grep -q '"deleted":null' said
say 'Fir becomes a partner of Elm that night: it gets nothing of what was erased.'
"$TALLY" --data fir init --name 'Fir Town Council' >/dev/null
start fir
befriend fir elm
comes 'Fir has the log as the thief left it' log_is fir "$ASH" 0 '7 7 current'
holds 'Fir does not find the contract that was erased' finds_not fir 'School meals'
stop fir

step 'The fork: Ash knows nothing of it, and goes on'
say 'The morning: Elm is cut off now. Ash publishes, and Oak takes it: two histories under one key.'
stop thief
stop elm
start oak
start ash
comes 'Ash and Oak are connected' connected ash 1
GRITTING=$(publish ash 'Winter gritting')
SOUND=5
comes "Oak took Ash's contract" log_is oak "$ASH" 0 "$SOUND $SOUND current"

step 'The detection: Oak and Elm meet'
say 'Each has a head signed by Ash which the other cannot continue: nothing but two histories explains it.'
start elm
for partner in oak elm; do
    comes "$partner is connected with both others" connected "$partner" 2
done
# Oak follows that log no further; the node of Ash hears that somebody else has its key.
for node in oak elm ash; do
    comes "$node shows the log of Ash as disputed" log_state "$node" "$ASH" 0 disputed
done
contract 'Street lighting'
holds 'the node of Ash signs nothing more' refused said ask ash publish contract contract.json --public
holds 'and says why' grep -q 'two histories' said

step 'What the thief cannot do: take the identity'
say 'New keys take the key in safe 2, which was never on the server.'
stop ash
holds 'the thief cannot rotate the keys' refused said ask thief --yes key rotate --next-controllers safe-3
holds 'since no controller signs' grep -q 'next controllers are needed' said
holds 'nor recover in place of Ash' refused said ask thief --yes key recover --next-controllers safe-3
holds 'since no controller signs' grep -q 'next controllers are needed' said

step 'The recovery: the controllers close the log where it was sound'
say 'The stick from safe 2 signs; all keys that were on the server are replaced, the next key goes to safe 3.'
ask ash --yes key recover --at "$SOUND" --with safe-2/*.key --passphrase-file passphrase \
    --next-controllers safe-3 >recovered
holds "the log is closed at $SOUND entries" grep -q "\"size\":$SOUND" recovered
start ash
for node in ash oak elm; do
    comes "$node has the old generation, closed at the honest head" \
        log_is "$node" "$ASH" 0 "$SOUND $SOUND closed"
    comes "$node has generation 1, which begins with the recovery" log_is "$node" "$ASH" 1 '1 1 current'
done
say 'The node has a new key, too: the new card goes to the partners, as it would by mail.'
"$TALLY" --data ash whoami >ash.card
for partner in oak elm; do
    "$TALLY" --data "$partner" partner add ash.card >/dev/null
    comes "$partner is connected with both others" connected "$partner" 2
done

step 'What the thief did is undone, and everything honest stands'
BOOKS=$(publish ash 'Library books')
for node in ash oak elm; do
    comes "$node has the first contract of the new generation" finds "$node" 'Library books'
    comes "$node does not find the false contract" finds_not "$node" 'Consultancy without a tender'
    comes "$node finds the contract that the thief withdrew" finds "$node" 'Grounds maintenance'
    comes "$node finds the contract that the thief erased" finds "$node" 'School meals'
    comes "$node finds what Ash published after the theft" finds "$node" 'Winter gritting'
    comes "$node finds what Ash published before" finds "$node" 'Housing management system'
done
say 'Records of the old generation are proved under the key that was replaced; a proof says so.'
for reference in "$HOUSING" "$GROUNDS" "$GRITTING"; do
    "$TALLY" --data elm prove "$reference" -o proof >/dev/null
    "$TALLY" --json verify proof --card ash.card --authority "$ASH" >verified
    holds 'Elm proves it: retired, proven' grep -q '"key":"retired, proven"' verified
    rm proof
done
"$TALLY" --data elm prove "$BOOKS" -o proof >/dev/null
"$TALLY" --json verify proof --card ash.card --authority "$ASH" >verified
holds 'Elm proves the new one: current' grep -q '"key":"current"' verified
holds 'nobody can prove the false contract any more' \
    refused said "$TALLY" --data elm prove "$FORGED" -o false.proof

step 'The thief comes back, with all that was stolen'
rm thief.log
start thief
comes 'the thief reaches a partner, which ends the connection' grep -q disconnected thief.log
say 'The copy signs what it likes, under a key that counts for nothing.'
publish thief 'Second false contract' >/dev/null
comes 'it finds its own false contract' finds thief 'Second false contract'
publish ash 'Road signs' >/dev/null
for node in ash oak elm; do
    comes "$node has what Ash published meanwhile" finds "$node" 'Road signs'
    holds "$node has nothing of the thief's" finds_not "$node" 'Second false contract'
    holds "$node has the same old generation" log_is "$node" "$ASH" 0 "$SOUND $SOUND closed"
done
say 'Fir is back after days of silence, and hears of everything from Elm.'
start fir
comes 'Fir, which had come to the stolen log, has the erased contract now' finds fir 'School meals'
comes 'and nothing of the thief'"'"'s' finds_not fir 'Consultancy without a tender'
holds 'nobody talks with the thief' connected thief 0
stop thief

step 'At the end'
comes 'Ash, Oak and Elm have the same logs, with the same roots, in the same state' same_logs
