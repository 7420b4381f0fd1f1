// Checks a running node with software that is not ours: its log with
// golang.org/x/mod/sumdb (note, tlog), its witness with crypto/ed25519.
//
//	check log BASE LOGKEY STATE        a log at its newest head; STATE keeps older heads
//	check witness BASE LOGKEY WITNESS WITNESSKEY
//	                                   has the log's head cosigned by a witness
//
// BASE and WITNESS are http://HOST:PORT, the keys C2SP vkeys. Every check is
// made on what the node said, and again on that with one bit or number changed,
// where it must fail. What is random is the same in every run. Ends with 0 and the number of checks, or with 1 and what
// was wrong. Only C2SP paths and formats are written here by hand, as the
// library predates them.
package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

var checks = 0

// holds ends the program unless a check of what the node said passes.
func holds(err error, format string, arguments ...interface{}) {
	checks++
	if err != nil {
		fail("%s: %v", fmt.Sprintf(format, arguments...), err)
	}
}

// fails ends the program if a check passes on what was tampered with.
func fails(err error, format string, arguments ...interface{}) {
	checks++
	if err == nil {
		fail("accepted although tampered with: %s", fmt.Sprintf(format, arguments...))
	}
}

func fail(format string, arguments ...interface{}) {
	fmt.Fprintf(os.Stderr, format+"\n", arguments...)
	os.Exit(1)
}

func main() {
	if len(os.Args) == 5 && os.Args[1] == "log" {
		log := openLog(os.Args[2], os.Args[3])
		log.checkNote()
		log.checkTiles()
		log.checkRecords()
		log.checkHistory(os.Args[4])
		log.checkAbsent()
		fmt.Printf("{\"size\":%d,\"checks\":%d}\n", log.tree.N, checks)
		return
	}
	if len(os.Args) == 6 && os.Args[1] == "witness" {
		log := openLog(os.Args[2], os.Args[3])
		time := log.checkWitness(os.Args[4], os.Args[5])
		fmt.Printf("{\"size\":%d,\"time\":%d,\"checks\":%d}\n", log.tree.N, time, checks)
		return
	}
	fail("usage: check log BASE LOGKEY STATE | check witness BASE LOGKEY WITNESS WITNESSKEY")
}

// A log as its newest checkpoint describes it.
type log struct {
	base     string
	verifier note.Verifier
	signed   []byte
	tree     tlog.Tree
}

func openLog(base, key string) *log {
	verifier, err := note.NewVerifier(key)
	holds(err, "the log's key")
	log := &log{base: base, verifier: verifier}
	log.signed = log.mustGet("checkpoint", "text/plain; charset=utf-8")
	opened, err := note.Open(log.signed, note.VerifierList(verifier))
	holds(err, "the checkpoint's signature")
	log.tree, err = parseTree(opened.Text, verifier.Name())
	holds(err, "the checkpoint's text")
	return log
}

// parseTree reads the three lines of a C2SP tlog-checkpoint.
func parseTree(text, origin string) (tree tlog.Tree, err error) {
	lines := strings.Split(text, "\n")
	if len(lines) != 4 || lines[0] != origin || lines[3] != "" {
		return tree, errors.New("not a checkpoint of this log: " + text)
	}
	if tree.N, err = strconv.ParseInt(lines[1], 10, 64); err != nil {
		return tree, err
	}
	tree.Hash, err = tlog.ParseHash(lines[2])
	return tree, err
}

func (l *log) url(path string) string {
	return l.base + "/" + l.verifier.Name() + "/" + path
}

func (l *log) mustGet(path, contentType string) []byte {
	response, err := http.Get(l.url(path))
	holds(err, "GET %s", path)
	body, err := io.ReadAll(response.Body)
	holds(err, "GET %s", path)
	response.Body.Close()
	if response.StatusCode != 200 || response.Header.Get("Content-Type") != contentType {
		fail("GET %s: %s, %s", path, response.Status, response.Header.Get("Content-Type"))
	}
	return body
}

// Every changed byte of the signed text must be found.
func (l *log) checkNote() {
	known := note.VerifierList(l.verifier)
	text := bytes.Index(l.signed, []byte("\n\n")) + 1
	for at := 0; at < text; at++ {
		for _, bit := range []byte{1, 4} {
			_, err := note.Open(flipped(l.signed, at, bit), known)
			fails(err, "byte %d of the checkpoint", at)
		}
	}
}

func flipped(data []byte, at int, bit byte) []byte {
	changed := append([]byte(nil), data...)
	changed[at] ^= bit
	return changed
}

// tiles fetches what tlog asks for, from the paths of C2SP tlog-tiles, which
// leave out the height. Tampered, it changes a bit of each one.
type tiles struct {
	log     *log
	tamper  bool
	fetched int
}

func (t *tiles) Height() int { return 8 }

func (t *tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range wanted {
		path := "tile/" + strings.TrimPrefix(tile.Path(), "tile/8/")
		data := t.log.mustGet(path, "application/octet-stream")
		if t.tamper {
			data = flipped(data, rand.Intn(len(data)), 1)
		}
		t.fetched++
		all = append(all, data)
	}
	return all, nil
}

func (t *tiles) SaveTiles([]tlog.Tile, [][]byte) {}

// The tiles lead to the signed root, over every level there is.
func (l *log) checkTiles() {
	reader := &tiles{log: l}
	hash, err := tlog.TreeHash(l.tree.N, tlog.TileHashReader(l.tree, reader))
	holds(err, "the tiles")
	if hash != l.tree.Hash {
		fail("the tiles lead to %v instead of %v", hash, l.tree.Hash)
	}
	_, err = tlog.TreeHash(l.tree.N, tlog.TileHashReader(l.tree, &tiles{log: l, tamper: true}))
	fails(err, "the tiles")
	// Each tile of the right edge, the narrow ones too, and not one hash more.
	for level, count := 0, l.tree.N; count > 0; level, count = level+1, count/256 {
		if count >= 256 {
			full := tlog.Tile{H: 8, L: level, N: count/256 - 1, W: 256}
			if data, _ := reader.ReadTiles([]tlog.Tile{full}); len(data[0]) != 8192 {
				fail("a full tile of %d bytes", len(data[0]))
			}
		}
		if width := count % 256; width > 0 {
			edge := tlog.Tile{H: 8, L: level, N: count / 256, W: int(width)}
			if data, _ := reader.ReadTiles([]tlog.Tile{edge}); len(data[0]) != int(width)*32 {
				fail("a tile of width %d and %d bytes", width, len(data[0]))
			}
			edge.W++
			if edge.W < 256 {
				l.mustBeAbsent("tile/" + strings.TrimPrefix(edge.Path(), "tile/8/"))
			}
		}
	}
}

// The first, the last and random records are proved to be in the tree.
func (l *log) checkRecords() {
	indices := []int64{0, l.tree.N - 1}
	for len(indices) < 10 {
		indices = append(indices, rand.Int63n(l.tree.N))
	}
	hashes := tlog.TileHashReader(l.tree, &tiles{log: l})
	for _, index := range indices {
		entry := l.entry(index)
		hash := tlog.RecordHash(entry)
		proof, err := tlog.ProveRecord(l.tree.N, index, hashes)
		holds(err, "a proof of record %d", index)
		err = tlog.CheckRecord(proof, l.tree.N, l.tree.Hash, index, hash)
		holds(err, "record %d", index)

		check := func(proof tlog.RecordProof, index int64, hash tlog.Hash) error {
			return tlog.CheckRecord(proof, l.tree.N, l.tree.Hash, index, hash)
		}
		for at := range entry {
			fails(check(proof, index, tlog.RecordHash(flipped(entry, at, 1))), "record %d", index)
		}
		if l.tree.N > 1 {
			fails(check(proof, (index+1)%l.tree.N, hash), "the index of record %d", index)
		}
		for at := range proof {
			fails(check(withFlippedHash(proof, at), index, hash), "the proof of record %d", index)
		}
	}
}

func withFlippedHash(proof []tlog.Hash, at int) []tlog.Hash {
	changed := append([]tlog.Hash(nil), proof...)
	changed[at][rand.Intn(32)] ^= 1
	return changed
}

// entry takes a header out of its bundle: each stands behind its length.
func (l *log) entry(index int64) []byte {
	bundle := tlog.Tile{H: 8, L: 0, N: index / 256, W: 256}
	if last := l.tree.N - bundle.N*256; last < 256 {
		bundle.W = int(last)
	}
	path := "tile/entries/" + strings.TrimPrefix(bundle.Path(), "tile/8/0/")
	data := l.mustGet(path, "application/octet-stream")
	var found []byte
	for n := 0; n < bundle.W; n++ {
		length := int(binary.BigEndian.Uint16(data))
		if int64(n) == index%256 {
			found = data[2 : 2+length]
		}
		data = data[2+length:]
	}
	if len(data) != 0 {
		fail("%d bytes too many in %s", len(data), path)
	}
	return found
}

// Every head seen before is a prefix of this one.
func (l *log) checkHistory(file string) {
	var seen []tlog.Tree
	if content, err := os.ReadFile(file); err == nil {
		holds(json.Unmarshal(content, &seen), "the heads seen before")
	}
	hashes := tlog.TileHashReader(l.tree, &tiles{log: l})
	for _, old := range seen {
		proof, err := tlog.ProveTree(l.tree.N, old.N, hashes)
		holds(err, "a proof from %d to %d", old.N, l.tree.N)
		err = tlog.CheckTree(proof, l.tree.N, l.tree.Hash, old.N, old.Hash)
		holds(err, "consistency of %d with %d", l.tree.N, old.N)

		other := old.Hash
		other[7] ^= 1
		fails(tlog.CheckTree(proof, l.tree.N, l.tree.Hash, old.N, other), "the older root")
		for at := range proof {
			changed := withFlippedHash(proof, at)
			err := tlog.CheckTree(changed, l.tree.N, l.tree.Hash, old.N, old.Hash)
			fails(err, "the proof from %d to %d", old.N, l.tree.N)
		}
	}
	content, err := json.Marshal(append(seen, l.tree))
	holds(err, "the heads seen")
	holds(os.WriteFile(file, content, 0o600), "the heads seen")
}

// What is not a public log is not there, whatever it is.
func (l *log) checkAbsent() {
	origin := l.verifier.Name()
	parts := strings.Split(origin, "/")
	group := parts[0] + "/" + parts[1] + "/" + strings.Repeat("a", 64)
	for _, path := range []string{
		"", "/", "/checkpoint", "/v1/status", "/" + origin, "/" + origin + "1/checkpoint",
		"/" + group + "/checkpoint", "/" + group + "/tile/0/000", "/add-checkpoint",
	} {
		mustBeAbsentAt(l.base + path)
	}
	mustBeAbsentAt(l.url("checkpoint?x=1"))
	l.mustBeAbsent(fmt.Sprintf("body/x999/%03d", l.tree.N%1000))
}

func (l *log) mustBeAbsent(path string) { mustBeAbsentAt(l.url(path)) }

func mustBeAbsentAt(url string) {
	response, err := http.Get(url)
	holds(err, "GET %s", url)
	body, err := io.ReadAll(response.Body)
	holds(err, "GET %s", url)
	response.Body.Close()
	if response.StatusCode != 404 || len(body) != 0 || response.Header.Get("Content-Type") != "" {
		fail("GET %s: %s and %d bytes instead of nothing", url, response.Status, len(body))
	}
}

// The conversation of C2SP tlog-witness, from knowing nothing to a cosignature.
func (l *log) checkWitness(base, key string) uint64 {
	post := func(body string, status int) (string, http.Header) {
		for {
			url := base + "/add-checkpoint"
			response, err := http.Post(url, "", strings.NewReader(body))
			holds(err, "POST %s", url)
			answer, err := io.ReadAll(response.Body)
			holds(err, "POST %s", url)
			response.Body.Close()
			if response.StatusCode == 429 {
				// A log that grows is cosigned once a second.
				time.Sleep(time.Second)
				continue
			}
			if response.StatusCode != status {
				fail("the witness answers %s instead of %d to %q", response.Status, status, body)
			}
			return string(answer), response.Header
		}
	}
	// A size that cannot be the recorded one.
	answer, header := post(request(l.tree.N-1, nil, l.signed), 409)
	if header.Get("Content-Type") != "text/x.tlog.size" || !strings.HasSuffix(answer, "\n") {
		fail("the recorded size comes as %q, %q", header.Get("Content-Type"), answer)
	}
	old, err := strconv.ParseInt(strings.TrimSuffix(answer, "\n"), 10, 64)
	holds(err, "the recorded size")
	var proof tlog.TreeProof
	if old > 0 {
		proof, err = tlog.ProveTree(l.tree.N, old, tlog.TileHashReader(l.tree, &tiles{log: l}))
		holds(err, "a proof from %d to %d", old, l.tree.N)
	}
	l.checkRefusals(old, proof, func(body string, status int) { post(body, status) })

	answer, _ = post(request(old, proof, l.signed), 200)
	text := l.signed[:bytes.Index(l.signed, []byte("\n\n"))+1]
	time, err := checkCosignature(answer, key, text)
	holds(err, "the cosignature")
	for at := range answer {
		_, err := checkCosignature(string(flipped([]byte(answer), at, 1)), key, text)
		fails(err, "byte %d of the cosignature", at)
	}
	for at := range text {
		_, err := checkCosignature(answer, key, flipped(text, at, 1))
		fails(err, "byte %d of what is cosigned", at)
	}
	// The library, which does not know this type of key, still opens the note.
	_, err = note.Open(append(l.signed, answer...), note.VerifierList(l.verifier))
	holds(err, "the checkpoint with a cosignature")
	// Now this is what is recorded, and it may be had again.
	recorded, _ := post(request(l.tree.N-1, nil, l.signed), 409)
	if recorded != fmt.Sprintf("%d\n", l.tree.N) {
		fail("recorded is %q instead of %d", recorded, l.tree.N)
	}
	post(request(l.tree.N, nil, l.signed), 200)
	return time
}

func (l *log) checkRefusals(old int64, proof tlog.TreeProof, post func(string, int)) {
	for at := range proof {
		post(request(old, withFlippedHash(proof, at), l.signed), 422)
	}
	post(request(old, append(proof[:len(proof):len(proof)], tlog.Hash{}), l.signed), 422)
	post(request(l.tree.N+1, nil, l.signed), 400)
	post("old "+request(old, proof, l.signed), 400)
	post("", 400)
	changed := bytes.Replace(l.signed, []byte(fmt.Sprintf("\n%d\n", l.tree.N)), []byte("\n99999999\n"), 1)
	post(request(old, proof, changed), 403)
	post(request(old, proof, bytes.ReplaceAll(l.signed, []byte("/0"), []byte("/7"))), 404)
	checks += len(proof) + 6
}

func request(old int64, proof []tlog.Hash, checkpoint []byte) string {
	body := fmt.Sprintf("old %d\n", old)
	for _, hash := range proof {
		body += hash.String() + "\n"
	}
	return body + "\n" + string(checkpoint)
}

// checkCosignature verifies one line of C2SP tlog-cosignature, Ed25519.
func checkCosignature(line, vkey string, text []byte) (uint64, error) {
	parts := strings.SplitN(vkey, "+", 3)
	material, err := base64.StdEncoding.DecodeString(parts[2])
	if err != nil || len(material) != 33 || material[0] != 4 {
		return 0, errors.New("not the key of a cosigner")
	}
	fields := strings.Split(line, " ")
	if len(fields) != 3 || fields[0] != "\u2014" || fields[1] != parts[0] || !strings.HasSuffix(line, "\n") {
		return 0, errors.New("not a line by this cosigner")
	}
	blob, err := base64.StdEncoding.Strict().DecodeString(strings.TrimSuffix(fields[2], "\n"))
	if err != nil || len(blob) != 4+8+ed25519.SignatureSize {
		return 0, errors.New("not a cosignature")
	}
	id := sha256.Sum256(append([]byte(parts[0]+"\n"), material...))
	if !bytes.Equal(blob[:4], id[:4]) || parts[1] != fmt.Sprintf("%x", id[:4]) {
		return 0, errors.New("another key id")
	}
	stated := binary.BigEndian.Uint64(blob[4:12])
	message := fmt.Sprintf("cosignature/v1\ntime %d\n%s", stated, text)
	if !ed25519.Verify(material[1:], []byte(message), blob[12:]) {
		return 0, errors.New("the signature does not fit")
	}
	return stated, nil
}
