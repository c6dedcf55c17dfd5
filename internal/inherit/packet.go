package inherit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// version is that of the conversation. A process that speaks another one is refused: both are
// the same program, and one of them can be started the ordinary way.
const version = 1

const (
	// maxPacket holds maxRights names of longestName bytes, even if JSON writes \u003c for each.
	maxPacket = 64 << 10
	// maxRights is how many descriptors one packet has; the kernel allows 253.
	maxRights = 32
	// maxSockets is how many are taken from a process in all.
	maxSockets = 1 << 14
)

// packetPatience is how long one packet may take to be sent, and to come when it is due at once.
const packetPatience = 5 * time.Second

// The steps of the conversation, see the package's comment.
const (
	stepHello   = "hello"
	stepSockets = "sockets"
	stepAll     = "all"
	stepTaken   = "taken"
	stepLeaving = "leaving"
	stepError   = "error"
)

// A packet is what one process says to the other.
type packet struct {
	Step    string   `json:"step"`
	Version int      `json:"version,omitempty"` // of hello
	Names   []string `json:"names,omitempty"`   // of sockets: one for each descriptor, "" for none
	Total   int      `json:"total,omitempty"`   // of all: how many descriptors there were
	Error   string   `json:"error,omitempty"`   // of error
}

// A link is one end of the conversation: a connection that keeps packets apart.
type link struct {
	conn *net.UnixConn
}

// send says something, with descriptors. It takes packetPatience at most.
func (l link) send(p packet, descriptors ...int) error {
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	if err := l.conn.SetWriteDeadline(time.Now().Add(packetPatience)); err != nil {
		return err
	}
	var rights []byte
	if len(descriptors) > 0 {
		rights = unix.UnixRights(descriptors...)
	}
	_, _, err = l.conn.WriteMsgUnix(text, rights, nil)
	return err
}

// receive waits for a packet until ctx ends, at most for a time. The descriptors that came with it
// are the caller's. The error is io.EOF when the other end has closed.
func (l link) receive(ctx context.Context, patience time.Duration) (packet, []int, error) {
	if err := l.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return packet{}, nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = l.conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	text := make([]byte, maxPacket)
	control := make([]byte, unix.CmsgSpace(4*maxRights))
	n, c, flags, _, err := l.conn.ReadMsgUnix(text, control)
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return packet{}, nil, err
	}
	descriptors, err := rightsIn(control[:c])
	if err == nil && flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
		err = errors.New("a packet was cut: it is too long, or this process may not open so many descriptors (LimitNOFILE=, ulimit -n)")
	}
	var p packet
	if err == nil {
		if err = json.Unmarshal(text[:n], &p); err != nil {
			err = fmt.Errorf("what the other process says is not understood: %w", err)
		}
	}
	if err != nil {
		closeEach(descriptors)
		return packet{}, nil, err
	}
	return p, descriptors, nil
}

// last is what the other end has said already when nothing more is wanted from it.
func (l link) last() packet {
	if err := l.conn.CloseRead(); err != nil {
		return packet{}
	}
	p, descriptors, err := l.receive(context.Background(), packetPatience)
	closeEach(descriptors)
	if err != nil {
		return packet{}
	}
	return p
}

// expect is receive for one step. An error that the other end tells is returned as its own.
func (l link) expect(ctx context.Context, patience time.Duration, steps ...string) (packet, []int, error) {
	p, descriptors, err := l.receive(ctx, patience)
	if err != nil {
		return packet{}, nil, err
	}
	for _, step := range steps {
		if p.Step == step && (step == stepSockets || len(descriptors) == 0) {
			return p, descriptors, nil
		}
	}
	closeEach(descriptors)
	if p.Step == stepError {
		return packet{}, nil, &refusal{p.Error}
	}
	return packet{}, nil, fmt.Errorf("the other process says %q, want %q", p.Step, steps)
}

// A refusal is an error that the other process has told.
type refusal struct{ text string }

func (r *refusal) Error() string { return r.text }

// rightsIn are the descriptors in a control message, which are open from now on.
func rightsIn(control []byte) ([]int, error) {
	if len(control) == 0 {
		return nil, nil
	}
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return nil, err
	}
	var out []int
	for i := range messages {
		if messages[i].Header.Level == unix.SOL_SOCKET && messages[i].Header.Type == unix.SCM_RIGHTS {
			some, err := unix.ParseUnixRights(&messages[i])
			if err != nil {
				closeEach(out)
				return nil, err
			}
			out = append(out, some...)
		}
	}
	return out, nil
}

func closeEach(descriptors []int) {
	for _, fd := range descriptors {
		_ = unix.Close(fd) // nothing was written to it
	}
}

// checkPeer holds the other end to the user of this process, and root: whoever else may open the
// path must neither get sockets nor put some under this process.
func checkPeer(conn *net.UnixConn, self int) (pid int, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var peer *unix.Ucred
	if e := raw.Control(func(fd uintptr) {
		peer, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); e != nil {
		return 0, e
	}
	if err != nil {
		return 0, err
	}
	if peer.Uid != 0 && int(peer.Uid) != self {
		return 0, fmt.Errorf("process %d belongs to user %d; sockets pass between processes of one user (%d here), and root", peer.Pid, peer.Uid, self)
	}
	return int(peer.Pid), nil
}
