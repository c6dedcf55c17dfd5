// Package inherit is about listening sockets that come from elsewhere, so that a restart refuses
// nobody: a listening socket that some process holds keeps its queue, whoever accepts from it.
//
//	systemd, socket unit  ──┐ LISTEN_FDS                        ┌─> Named: listen = "systemd:NAME"
//	systemd, fd store     ──┴─> FromSystemd ──┐                 │
//	                                          ├──> Sockets  ────┼─> At: listen = "127.0.0.1:7001"
//	a running process     ────> TakeOver    ──┘                 │
//	   (Offer)             <──  Handover.Done or Abort          └─> Close: what nobody wanted
//
// Three ways lead here. A socket unit of systemd opens sockets before the process is there, and
// names them. The fd store keeps what the process has opened itself and hands it to the one that
// is started after it: Store puts a socket there, Unstore takes it out. And without systemd, the
// new process asks the old one for its sockets: Offer and TakeOver.
//
// The process then looks here first for each address that it is to listen at, and opens a socket
// of its own only where nothing is found.
//
// # A takeover
//
// The old process waits at a unix socket in Offer. The new one connects to it in TakeOver and is
// handed duplicates of all listening sockets, so both could accept. When it listens, it says so
// with Handover.Done, and the old one drains and ends. Whatever happens before leaves the old one
// as it was: an Abort, a new process that dies, one that takes too long.
//
//	new                          old
//	 │ connect                    │ peer: same user, or root; nobody else is at it
//	 │ hello, version ──────────> │
//	 │ <────────── sockets, names │ as many messages as it takes
//	 │ <──────────── all, a count │
//	 │ (listens)                  │ (serves on)
//	 │ taken ───────────────────> │ gives up the path
//	 │ <───────────────── leaving │ drains, ends
//	 │ offers at the same path    │
//
// Messages are packets of JSON, which have a bound for their size and a deadline.
package inherit
