# SPDX-License-Identifier: Apache-2.0 OR MIT
# A mock of Vivado: runs one of the scripts that `brickwork gen` writes, in tclsh, and fails on anything that Vivado would
# not take. It is no Vivado: nothing is synthesized, and it knows only the commands, options, properties, IP and
# parts that are written down here, from the public manuals (UG835, UG912, UG994, UG1118) and published designs.
#
#   tclsh tools/vivado_mock.tcl [-slack NS] [-progress P] SCRIPT [ARGUMENT ...]
#
# SCRIPT is build/<name>/vivado/{synth,package_ip,system}.tcl; it may write below build/<name>/vivado_build only. Checked are:
# - every command, option and property is known, every value allowed;
# - every file, part, IP, interface, port, pin, net and address segment that is named exists; ports are those of
#   the generated Verilog, pins those of the IP as configured;
# - the state of the project: steps in order, one driver per net, every AXI interface, clock and reset connected, all
#   address spaces mapped;
# - at the end, that the script has left what it promises.
# -slack and -progress are what timing and run report, to see the script's own checks fail.

namespace eval mock {
    variable home [file dirname [file normalize [info script]]]
    variable commands       ;# name -> {options arity}; the body is the procedure impl::name
    variable S              ;# state of the running script
    array set commands {}
}

# Ends the script: what it did is not allowed.
proc mock::fail {text} {
    error "mock: $text"
}

# Declares a command of Vivado. Options: name and whether it takes a value. Arity: fewest and most positional arguments. The body
# sees the options as the dict o and the positional arguments as the list p.
proc mock::command {name options arity body} {
    variable commands
    set commands($name) [list $options $arity]
    proc ::mock::impl_[string map {:: __} $name] {o p} "variable S\n$body"
}

# Calls a command with the arguments that the script gave.
proc mock::call {name args} {
    variable commands
    lassign $commands($name) options arity
    set o {}
    set p {}
    while {[llength $args] > 0} {
        set args [lassign $args argument]
        if {[regexp {^-[a-z]} $argument]} {
            if {![dict exists $options $argument]} {
                fail "$name has no option $argument"
            }
            if {[dict exists $o $argument]} {
                fail "$name: $argument is given twice"
            }
            set value 1
            if {[dict get $options $argument]} {
                if {[llength $args] == 0} {
                    fail "$name: $argument needs a value"
                }
                set args [lassign $args value]
            }
            dict set o $argument $value
        } else {
            lappend p $argument
        }
    }
    lassign $arity least most
    if {[llength $p] < $least || [llength $p] > $most} {
        fail "$name takes $least to $most arguments, got [llength $p]: $p"
    }
    return [impl_[string map {:: __} $name] $o $p]
}

# Objects are handles CLASS|KEY.
proc mock::key {class handle} {
    if {[llength $handle] != 1 || ![string match $class|* [lindex $handle 0]]} {
        fail "'$handle' is not one object of the kind $class"
    }
    return [string range [lindex $handle 0] [string length $class|] end]
}

proc mock::option {o name {default ""}} {
    if {[dict exists $o $name]} { return [dict get $o $name] }
    return $default
}

proc mock::need_option {command o name} {
    if {![dict exists $o $name]} {
        fail "$command needs $name"
    }
    return [dict get $o $name]
}

# Properties by class: name, and what a value must match; empty: it can only be read.
proc mock::properties {class table} {
    variable property
    foreach {name pattern} $table {
        set property($class,$name) $pattern
    }
}

mock::command set_property {-dict 1} {1 3} {
    if {[dict exists $o -dict]} {
        if {[llength $p] != 1} { fail "set_property -dict takes the object last" }
        set pairs [dict get $o -dict]
        set objects [lindex $p 0]
    } else {
        if {[llength $p] != 3} { fail "set_property takes name, value and object" }
        set pairs [lrange $p 0 1]
        set objects [lindex $p 2]
    }
    if {[llength $objects] == 0} { fail "set_property: no object" }
    if {[llength $pairs] == 0 || [llength $pairs] % 2} { fail "set_property: names and values do not pair" }
    foreach object $objects {
        foreach {name value} $pairs { set_one [string toupper $name] $value $object }
    }
}

proc mock::set_one {name value object} {
    variable S
    variable property
    set class [lindex [split $object |] 0]
    if {[string match CONFIG.* $name]} {
        return [set_config $name $value [key bd_cell $object]]
    }
    if {![info exists property($class,$name)]} {
        fail "$object has no property $name"
    }
    if {$property($class,$name) eq ""} {
        fail "property $name of $object can only be read"
    }
    if {![regexp -- "^(?:$property($class,$name))\$" $value]} {
        fail "property $name of $object cannot be '$value'"
    }
    set S(property,$object,$name) $value
    if {[info procs ::mock::on_${class}_$name] ne ""} {
        on_${class}_$name [key $class $object] $value
    }
}

mock::command get_property {} {2 2} {
    lassign $p name object
    variable property
    set name [string toupper $name]
    set class [lindex [split $object |] 0]
    if {![info exists property($class,$name)]} { fail "'$object' has no property $name" }
    if {[info procs ::mock::read_${class}_$name] ne ""} {
        return [read_${class}_$name [key $class $object]]
    }
    if {![info exists S(property,$object,$name)]} { fail "property $name of $object is not set" }
    return $S(property,$object,$name)
}

mock::command version {-short 0} {0 0} { return 2023.2 }

foreach part {catalog project packager design} {
    source [file join $mock::home vivado_mock $part.tcl]
}

# The folder that the script may write to, and all of its Tcl that touches files.
proc mock::inside {path} {
    variable S
    set path [file normalize $path]
    if {![string match $S(root)/vivado_build/* $path]} {
        fail "'$path' lies outside of $S(root)/vivado_build"
    }
    return $path
}

proc mock::safe_file {sub args} {
    switch -- $sub {
        delete - mkdir - copy {
            foreach path $args {
                if {![regexp {^-} $path]} { inside $path }
            }
            if {$sub eq "copy"} {
                foreach path [lrange $args 0 end-1] {
                    if {![regexp {^-} $path] && ![file exists $path]} { fail "there is no file '$path' to copy" }
                }
                variable S
                lappend S(written) [file normalize [lindex $args end]]
            }
        }
        dirname - join - normalize - exists - tail {}
        default { fail "file $sub is not used here" }
    }
    return [file $sub {*}$args]
}

proc mock::safe_open {path {mode r}} {
    if {$mode ne "r"} { fail "open $path for $mode" }
    if {![file exists $path]} { fail "there is no file '$path'" }
    return [open $path r]
}

# Runs a script's text; gives an empty text, or what is wrong with it. `path` is where the script lies.
proc mock::run {path text arguments slack progress} {
    variable S
    variable commands
    array unset S
    set path [file normalize $path]
    array set S [list root [file dirname [file dirname $path]] slack $slack progress $progress said {}]
    regexp {"part": "([^"]+)"} [read_text [file join $S(root) config.json]] - S(config_part)
    set name [file rootname [file tail $path]]
    set child [interp create]
    foreach command {exec socket load cd pwd glob after vwait fconfigure} { interp hide $child $command }
    interp eval $child {
        proc unknown {args} { error "mock: unknown command [lindex $args 0]" }
        namespace eval ipx {}
    }
    foreach command [array names commands] {
        interp alias $child ::$command {} ::mock::call $command
    }
    interp alias $child ::file {} ::mock::safe_file
    foreach command {puts exit} { interp alias $child ::$command {} ::mock::script_$command }
    # A file that the script opens is handed over to it.
    interp alias $child ::open {} ::mock::hand_over $child
    interp eval $child [list set argv $arguments]
    interp eval $child [list set argc [llength $arguments]]
    interp eval $child [list info script $path]
    set failed [catch { interp eval $child $text; expect_$name $arguments } message]
    interp delete $child
    return [expr {$failed ? ($message eq "" ? "it failed" : $message) : ""}]
}

proc mock::hand_over {child args} {
    set channel [safe_open {*}$args]
    interp transfer {} $channel $child
    return $channel
}

proc mock::script_puts {args} {
    variable S
    lappend S(said) [lindex $args end]
}

proc mock::script_exit {{status 0}} {
    fail "exit $status"
}

proc mock::read_text {path} {
    set channel [open $path]
    set text [read $channel]
    close $channel
    return $text
}

# What a mock of a tool writes.
proc mock::write_text {path text} {
    variable S
    set path [inside $path]
    file mkdir [file dirname $path]
    lappend S(written) $path
    set channel [open $path w]
    puts -nonewline $channel $text
    close $channel
}

proc mock::main {arguments} {
    variable S
    set slack 0.5
    set progress 100%
    while {[regexp {^-} [lindex $arguments 0]]} {
        set arguments [lassign $arguments name value]
        switch -- $name {
            -slack { set slack $value }
            -progress { set progress $value }
            default { puts stderr "unknown option $name"; exit 2 }
        }
    }
    set rest [lassign $arguments path]
    if {$path eq "" || ![file exists $path]} {
        puts stderr "usage: tclsh vivado_mock.tcl ?-slack NS? ?-progress P? SCRIPT ?ARGUMENT ...?"
        exit 2
    }
    set problem [run $path [read_text $path] $rest $slack $progress]
    foreach line $S(said) { puts $line }
    if {$problem ne ""} {
        puts stderr "$path: $problem"
        exit 1
    }
    puts "$path $rest: sound"
}

if {[info exists argv0] && [file normalize $argv0] eq [file normalize [info script]]} {
    mock::main $argv
}
