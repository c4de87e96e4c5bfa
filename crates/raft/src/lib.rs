//! KRaft consensus as a state machine: messages and time in, actions out.
