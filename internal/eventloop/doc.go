// Package eventloop runs sockets and coroutines on epoll threads.
//
// A Group owns a fixed number of Loops. Each Loop is one goroutine locked to its thread,
// with an epoll instance, a timer wheel, free lists of buffers and pipes, and a run queue
// of Tasks. A Task is a coroutine (iter.Pull): its code reads like blocking Go, but a Read
// that would block gives the thread back to the loop until the socket is ready. Nothing on
// a loop is shared with another thread, so nothing on it is locked.
//
// # Life of a connection
//
// A Listener is one socket watched by all loops. The loop that accepts a connection may
// hand it to a less busy one; from then on it never changes loops. The listener's Acceptor
// is called with the new Conn and either starts a task for it (Loop.Go) or leaves it idle
// (Conn.Idle): an idle connection has no task and no buffer, only an IdleHandler that is
// called when bytes, an end or the deadline arrive, and which usually starts a task then.
//
// # What a task may do
//
// Within a task, Conn is a net.Conn: Read, Write and Close, deadlines, and besides these
// CloseWrite, Writev, and splice(2) through a Pipe. The Try variants never park; a task
// that serves two connections moves what it can with them and then parks in Task.Wait for
// several connections at once. Task.Do runs a function that may block on an ordinary
// goroutine while the task is parked, Task.Sleep parks for a time, Task.Yield goes to the
// back of the run queue, and Task.Heavy waits for the loop to have room for work that holds
// it for long. Reads and writes count against the task's share of a turn, and a
// task that has used it up yields by itself, so that one busy connection cannot starve the
// others.
//
// # Rules
//
// Everything on a loop is touched only on that loop: by its tasks, its handlers and the
// functions handed to Loop.Post, which is the one door for other goroutines. Handlers,
// timers and posted functions run between tasks and must not block; they cannot park.
//
// Sockets are registered once, edge-triggered, for both directions; what epoll said is
// remembered in the Conn, and a read that returns less than asked is taken as "drained"
// until the next edge, which saves the read that would only see EAGAIN.
//
// A panic in a task, handler, timer or posted function is caught, counted and handed to
// Options.OnPanic. The connections that a panicking task was the last to use, or that a
// panicking handler was told of, are closed; nothing else is.
package eventloop
