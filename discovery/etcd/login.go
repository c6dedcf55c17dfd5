package etcd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// refusedPause is how long a password that etcd has refused is not tried again: each attempt
// costs etcd some 50 ms of hashing, and all Sources want to log in at once.
const refusedPause = 2 * time.Second

// maxPassword bounds what is read of a password file.
const maxPassword = 4096

// login gives each call the token that etcd wants, and gets another when it is refused. The
// library's own logs in when the client is made, so that none is made while etcd is away, and
// keeps the password of that moment. It is for concurrent use.
type login struct {
	user, password, path string

	turn chan struct{} // holds one value: whoever has taken it may use what is below
	// token is that of the last login, or empty: none, or etcd wants none (see off).
	token string
	off   bool // etcd has said that authentication is not enabled

	refused   string    // the password that etcd has refused
	refusal   error     // and how
	refusedAt time.Time // and when; zero: it has not
}

func newLogin(o Options) (*login, error) {
	l := &login{user: o.Username, password: o.Password, path: o.PasswordFile, turn: make(chan struct{}, 1)}
	hasPassword := l.password != "" || l.path != ""
	switch {
	case l.user == "" && hasPassword:
		return nil, errors.New("a password without a user; set etcd.username")
	case l.user != "" && !hasPassword:
		return nil, errors.New("a user without a password; set etcd.password_file")
	}
	l.turn <- struct{}{}
	return l, nil
}

func (l *login) unary(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoker grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	if l.user == "" || method == pb.Auth_Authenticate_FullMethodName {
		return invoker(ctx, method, req, reply, cc, opts...)
	}
	token, err := l.current(ctx, cc, "")
	if err != nil {
		return err
	}
	err = invoker(withToken(ctx, token), method, req, reply, cc, opts...)
	if !tokenRefused(err) {
		return err
	}
	// etcd has done nothing when it refuses the token, so that any call can be made again.
	if token, err = l.current(ctx, cc, token); err != nil {
		return err
	}
	return invoker(withToken(ctx, token), method, req, reply, cc, opts...)
}

// stream opens a stream with a token. Whether that is still good turns out later, when it can
// not be opened again here; the next unary call finds out and gets another token.
func (l *login) stream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, streamer grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	if l.user != "" {
		token, err := l.current(ctx, cc, "")
		if err != nil {
			return nil, err
		}
		ctx = withToken(ctx, token)
	}
	return streamer(ctx, desc, cc, method, opts...)
}

// current returns the token of the last login, or logs in when there was none or it is the one
// that was refused.
func (l *login) current(ctx context.Context, cc *grpc.ClientConn, refused string) (string, error) {
	select {
	case <-l.turn:
		defer func() { l.turn <- struct{}{} }()
	case <-ctx.Done():
		return "", status.FromContextError(ctx.Err()).Err()
	}
	if held := l.held(); held != "" && held != refused {
		return held, nil
	}
	l.token, l.off = "", false
	password, err := l.read()
	if err != nil {
		return "", err
	}
	if l.refusal != nil && password == l.refused && time.Since(l.refusedAt) < refusedPause {
		return "", l.refusal
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	resp, err := pb.NewAuthClient(cc).Authenticate(ctx, &pb.AuthenticateRequest{Name: l.user, Password: password})
	known := rpctypes.Error(err)
	switch {
	case err == nil:
		l.token, l.refusal = resp.GetToken(), nil
	case errors.Is(known, rpctypes.ErrAuthNotEnabled):
		l.off, l.refusal = true, nil
	case errors.Is(known, rpctypes.ErrAuthFailed):
		l.refused, l.refusedAt = password, time.Now()
		l.refusal = fmt.Errorf("etcd refuses user %q with %s: %w; correct it", l.user, l.origin(), known)
		return "", l.refusal
	default:
		return "", err
	}
	return l.held(), nil
}

// noToken stands for the token while etcd wants none.
const noToken = "-"

// held is what current returns, or empty when that takes a login.
func (l *login) held() string {
	if l.off {
		return noToken
	}
	return l.token
}

// read returns the password. It is that of the moment: the file may have been replaced.
func (l *login) read() (string, error) {
	if l.path == "" {
		return l.password, nil
	}
	info, err := os.Stat(l.path)
	if err != nil {
		return "", fmt.Errorf("password file: %w; create it or correct etcd.password_file", err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxPassword {
		return "", fmt.Errorf("password file %s is no file of at most %d bytes; correct etcd.password_file", l.path, maxPassword)
	}
	data, err := os.ReadFile(l.path)
	if err != nil {
		return "", fmt.Errorf("password file: %w; let the sidecar's user read it", err)
	}
	password := strings.TrimRight(string(data), "\r\n")
	if password == "" {
		return "", fmt.Errorf("password file %s is empty; write the password into it", l.path)
	}
	return password, nil
}

// origin says where the password comes from.
func (l *login) origin() string {
	if l.path != "" {
		return "the password in " + l.path
	}
	return "etcd.password"
}

func withToken(ctx context.Context, token string) context.Context {
	if token == noToken {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, rpctypes.TokenFieldNameGRPC, token)
}

// tokenRefused tells whether a call has failed for its token, or for the lack of one.
func tokenRefused(err error) bool {
	err = rpctypes.Error(err)
	return errors.Is(err, rpctypes.ErrInvalidAuthToken) || errors.Is(err, rpctypes.ErrUserEmpty) || errors.Is(err, rpctypes.ErrAuthOldRevision)
}
