//! Sockets, threads and process life around a node.
