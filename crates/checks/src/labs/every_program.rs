//! What every lab promises, and every lab with a port. These lists come before
//! all that use them, as macros must (`#[macro_use]`).

/// Adds these promises to a lab's own: calls the macro named first with its
/// arguments, and with this list behind them. The module that uses it has a
/// function of each name.
macro_rules! every_program {
    ($then:ident! { $($own:tt)* }) => { $then! { $($own)*
        help_says_what_and_how = "help-says-what-and-how":
            "`--help` says what it does, its flags, and an example.",
            "Nobody should have to read the code to run it.";
        bad_flags_are_misuse = "bad-flags-are-misuse":
            "A flag that is none, or a value that cannot be, is named, and \
             the status is 2.",
            "Scripts tell misuse from failure by the status.";
        ends_at_once_when_asked_twice = "ends-at-once-when-asked-twice":
            "A second Ctrl-C or SIGTERM ends it at once, with status 130.",
            "Who asks again has waited long enough.";
        a_closed_stdout_ends_it_quietly = "a-closed-stdout-ends-it-quietly":
            "When the reader of its stdout goes away, it ends in order, \
             without a word of its own, with status 0.",
            "`| head -1` is an ordinary thing to type.";
    } };
}

/// The same for a lab that is a server at a port, of TCP or UDP.
macro_rules! every_port {
    ($then:ident! { $($own:tt)* }) => { every_program! { $then! { $($own)*
        runs_with_no_flags = "runs-with-no-flags":
            "With no flags it serves on its own port of 127.0.0.1, where no \
             other machine can reach it.",
            "The first run must work, and must not open a stranger's door.";
        prints_the_address_it_bound = "prints-the-address-it-bound":
            "Its first line is `listening on` and the address it really has.",
            "With port 0 or a name, only the kernel knows what was bound.";
        a_busy_port_is_one_clear_line = "a-busy-port-is-one-clear-line":
            "A port in use is one line with EADDRINUSE, a line of help, and \
             status 1.",
            "It is the first error that everybody meets.";
        a_privileged_port_is_one_clear_line =
            "a-privileged-port-is-one-clear-line":
            "A port below 1024 is one line with EACCES, a line of help, and \
             status 1.",
            "The port that a protocol is known by is often one of these.";
        a_foreign_address_is_one_clear_line =
            "a-foreign-address-is-one-clear-line":
            "An address of another machine is one line with EADDRNOTAVAIL, a \
             line of help, and status 1.",
            "A typing error in an address looks like this.";
        an_unknown_name_is_one_clear_line =
            "an-unknown-name-is-one-clear-line":
            "A name that nobody knows is one line, a line of help, and \
             status 1.",
            "The name must stand in the message, or nobody sees the typing \
             error.";
        warns_when_others_can_reach_it = "warns-when-others-can-reach-it":
            "Told to listen on more than loopback, it does, and warns.",
            "Who opens a port to the whole network should know it.";
    } } };
}
