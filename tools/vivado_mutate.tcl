# SPDX-License-Identifier: Apache-2.0 OR MIT
# Shows that the mock of Vivado sees mistakes: breaks a script in every way of three kinds and runs each broken one.
#
#   tclsh tools/vivado_mutate.tcl SCRIPT        (build/<name>/vivado/{synth,package_ip,system}.tcl)
#
# - Every line is left out.
# - Every word is misspelt (an x at its end).
# - Every number is one more.
# Comments and messages to people are left alone. A broken script that behaves as the whole one does is a failure, unless it is
# one of `free`. What was in build/<name>/vivado_build is lost.
source [file join [file dirname [file normalize [info script]]] vivado_mock.tcl]

# How each script is run: arguments, slack, progress, and what it must say (empty: it is sound).
array set cases {
    synth {{{} 0.5 100% {}} {{} -0.1 100% {timing is not met: worst setup slack -0.1 ns}}}
    package_ip {{{} 0.5 100% {}}}
    system {
        {pynq-z2 0.5 100% {}} {{zedboard 4} 0.5 100% {}} {nosuch 0.5 100% {unknown board 'nosuch'*}}
        {pynq-z2 -0.1 100% {timing is not met: worst setup slack -0.1 ns}} {pynq-z2 0.5 50% {the run ended early: *}}
    }
}

# Changes that may be: kind, pattern of the line.
set free {
    line {^(phys_opt_design|update_compile_order )}
    line {^file (delete -force|mkdir) }
    line {^close \$list$}
    line {^ *set (sources|signals) \{\}$}
    word {^ *set (sources|signals) \{\}$}
    number {-max_paths }
    word {^create_project -force package_ip }
    word {^set_property (display_name|description) }
    word {^set interrupt \[interface \$core irq }
    word {^set clock \[interface \$core aclk }
    word {^set map \[ipx::add_memory_map }
}

# Whether a text behaves as the script should in all cases.
proc behaves {path text cases} {
    foreach case $cases {
        lassign $case arguments slack progress wanted
        set said [mock::run $path $text $arguments $slack $progress]
        if {![string match $wanted $said]} { return 0 }
    }
    return 1
}

# All changes of a line: kind, new lines.
proc changes {line} {
    set list [list line {}]
    foreach place [regexp -all -inline -indices {[A-Za-z_][A-Za-z0-9_]+} $line] {
        lassign $place first last
        lappend list word [list [string replace $line $first $last [string range $line $first $last]x]]
    }
    foreach place [regexp -all -inline -indices {\m[0-9]+\M} $line] {
        lassign $place first last
        scan [string range $line $first $last] %d number
        lappend list number [list [string replace $line $first $last [expr {$number + 1}]]]
    }
    return $list
}

proc may_be {kind line} {
    foreach {k pattern} $::free {
        if {$k eq $kind && [regexp -- $pattern $line]} { return 1 }
    }
    return 0
}

set path [lindex $argv 0]
set name [file rootname [file tail $path]]
set text [mock::read_text $path]
set lines [split $text \n]
# A fresh build; system.tcl needs the packaged IP.
file delete -force [file join [file dirname $path] .. vivado_build]
if {$name eq "system"} {
    set package [file join [file dirname $path] package_ip.tcl]
    set problem [mock::run $package [mock::read_text $package] {} 0.5 100%]
    if {$problem ne ""} { puts stderr $problem; exit 2 }
}
if {![behaves $path $text $cases($name)]} {
    puts stderr "$path is not sound to begin with"
    exit 2
}
set count 0
set allowed 0
set missed {}
for {set i 0} {$i < [llength $lines]} {incr i} {
    set line [lindex $lines $i]
    if {[regexp {^\s*(#|puts|error|$)} $line]} continue
    foreach {kind new} [changes $line] {
        set broken [join [lreplace $lines $i $i {*}$new] \n]
        incr count
        if {![info complete $broken] || ![behaves $path $broken $cases($name)]} continue
        if {[may_be $kind $line]} { incr allowed; continue }
        lappend missed "$kind, line [expr {$i + 1}]: [expr {$new eq "" ? "without $line" : [lindex $new 0]}]"
    }
}
puts "$name.tcl: $count mistakes, $allowed of them harmless, [llength $missed] missed"
foreach one $missed { puts stderr "missed: $one" }
exit [expr {[llength $missed] > 0}]
