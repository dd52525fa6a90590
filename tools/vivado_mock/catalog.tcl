# SPDX-License-Identifier: Apache-2.0 OR MIT
# What Vivado has in its catalogs: parts, IP with their parameters and pins, kinds of interfaces.

namespace eval mock {
    # Zynq-7000 and some Artix-7: device, packages, speed grades.
    variable devices {
        xc7z007s {clg225 clg400} {1 2}                xc7z010 {clg225 clg400} {1 2 3}
        xc7z012s {clg485} {1 2}                       xc7z014s {clg400 clg484} {1 2}
        xc7z015 {clg485} {1 2 3}                      xc7z020 {clg400 clg484} {1 2 3}
        xc7z030 {sbg485 fbg484 fbg676 ffg676} {1 2 3} xc7z035 {fbg676 ffg676 ffg900} {1 2 3}
        xc7z045 {fbg676 ffg676 ffg900} {1 2 3}        xc7z100 {ffg900 ffg1156} {1 2}
        xc7a35t {cpg236 csg324 csg325 ftg256 fgg484} {1 2 3}
        xc7a100t {csg324 ftg256 fgg484 fgg676} {1 2 3}
    }

    # Signals of AXI channels: name, 1 if the master drives it, width (0: any).
    variable channel_AR {ARADDR 1 0 ARLEN 1 8 ARSIZE 1 3 ARBURST 1 2 ARCACHE 1 4 ARPROT 1 3 ARVALID 1 1 ARREADY 0 1}
    variable channel_R {RDATA 0 0 RRESP 0 2 RLAST 0 1 RVALID 0 1 RREADY 1 1}
    variable channel_AW {AWADDR 1 0 AWLEN 1 8 AWSIZE 1 3 AWBURST 1 2 AWCACHE 1 4 AWPROT 1 3 AWVALID 1 1 AWREADY 0 1}
    variable channel_W {WDATA 1 0 WSTRB 1 0 WLAST 1 1 WVALID 1 1 WREADY 0 1}
    variable channel_B {BRESP 0 2 BVALID 0 1 BREADY 1 1}
    # AXI4-Lite has no bursts.
    variable not_lite {ARLEN ARSIZE ARBURST ARCACHE RLAST AWLEN AWSIZE AWBURST AWCACHE WLAST}

    # Kinds of signal interfaces: their one signal.
    variable signal_kinds {signal:clock CLK signal:reset RST signal:interrupt INTERRUPT}

    # Parameters of interfaces: name and allowed values.
    variable bus_parameters {
        interface:aximm,PROTOCOL {AXI4|AXI4LITE|AXI3}
        interface:aximm,READ_WRITE_MODE {READ_WRITE|READ_ONLY|WRITE_ONLY}
        interface:aximm,MAX_BURST_LENGTH {[1-9][0-9]*}
        interface:aximm,SUPPORTS_NARROW_BURST {0|1}
        signal:clock,ASSOCIATED_BUSIF {[a-z0-9_]+(:[a-z0-9_]+)*}
        signal:clock,ASSOCIATED_RESET {[a-z0-9_]+}
        signal:reset,POLARITY {ACTIVE_LOW|ACTIVE_HIGH}
        signal:interrupt,SENSITIVITY {LEVEL_HIGH|LEVEL_LOW|EDGE_RISING|EDGE_FALLING}
    }

    # Parameters of IP: name and allowed values. What matters must be said by the script: no default is a value that works.
    variable mhz {[0-9]+(?:\.[0-9]+)?}
    variable delay {-?[0-9]\.[0-9]+}
    variable ip_parameters
    array set ip_parameters [subst -nocommands -nobackslashes {
        processing_system7:5.5 {
            PCW_CRYSTAL_PERIPHERAL_FREQMHZ {$mhz} PCW_APU_PERIPHERAL_FREQMHZ {$mhz} PCW_FPGA0_PERIPHERAL_FREQMHZ {$mhz}
            PCW_PRESET_BANK0_VOLTAGE {LVCMOS (3.3|2.5|1.8)V} PCW_PRESET_BANK1_VOLTAGE {LVCMOS (3.3|2.5|1.8)V}
            PCW_QSPI_PERIPHERAL_ENABLE {0|1} PCW_QSPI_GRP_SINGLE_SS_ENABLE {0|1} PCW_QSPI_GRP_FBCLK_ENABLE {0|1}
            PCW_ENET0_PERIPHERAL_ENABLE {0|1} PCW_ENET0_ENET0_IO {MIO 16 .. 27|EMIO}
            PCW_ENET0_GRP_MDIO_ENABLE {0|1} PCW_ENET0_GRP_MDIO_IO {MIO 52 .. 53|EMIO}
            PCW_ENET0_RESET_ENABLE {0|1} PCW_ENET0_RESET_IO {MIO [0-9]+}
            PCW_SD0_PERIPHERAL_ENABLE {0|1} PCW_SD0_SD0_IO {MIO 16 .. 21|MIO 28 .. 33|MIO 40 .. 45|EMIO}
            PCW_SD0_GRP_CD_ENABLE {0|1} PCW_SD0_GRP_CD_IO {MIO [0-9]+} PCW_SD0_GRP_WP_ENABLE {0|1} PCW_SD0_GRP_WP_IO {MIO [0-9]+}
            PCW_SDIO_PERIPHERAL_FREQMHZ {$mhz}
            PCW_USB0_PERIPHERAL_ENABLE {0|1} PCW_USB0_USB0_IO {MIO 28 .. 39} PCW_USB0_RESET_ENABLE {0|1} PCW_USB0_RESET_IO {MIO [0-9]+}
            PCW_GPIO_MIO_GPIO_ENABLE {0|1}
            PCW_UART0_PERIPHERAL_ENABLE {0|1} PCW_UART0_UART0_IO {MIO (10 .. 11|14 .. 15|18 .. 19|22 .. 23|50 .. 51)|EMIO}
            PCW_UART1_PERIPHERAL_ENABLE {0|1} PCW_UART1_UART1_IO {MIO (8 .. 9|12 .. 13|16 .. 17|48 .. 49|52 .. 53)|EMIO}
            PCW_UIPARAM_DDR_PARTNO {MT41J256M16 RE-125|MT41J128M16 HA-15E|MT41K256M16 RE-125}
            PCW_UIPARAM_DDR_BUS_WIDTH {16 Bit|32 Bit} PCW_UIPARAM_DDR_FREQ_MHZ {$mhz} PCW_UIPARAM_DDR_USE_INTERNAL_VREF {0|1}
            PCW_UIPARAM_DDR_TRAIN_WRITE_LEVEL {0|1} PCW_UIPARAM_DDR_TRAIN_READ_GATE {0|1} PCW_UIPARAM_DDR_TRAIN_DATA_EYE {0|1}
            PCW_UIPARAM_DDR_BOARD_DELAY0 {$delay} PCW_UIPARAM_DDR_BOARD_DELAY1 {$delay}
            PCW_UIPARAM_DDR_BOARD_DELAY2 {$delay} PCW_UIPARAM_DDR_BOARD_DELAY3 {$delay}
            PCW_UIPARAM_DDR_DQS_TO_CLK_DELAY_0 {$delay} PCW_UIPARAM_DDR_DQS_TO_CLK_DELAY_1 {$delay}
            PCW_UIPARAM_DDR_DQS_TO_CLK_DELAY_2 {$delay} PCW_UIPARAM_DDR_DQS_TO_CLK_DELAY_3 {$delay}
            PCW_EN_CLK0_PORT {0|1} PCW_EN_RST0_PORT {0|1} PCW_USE_M_AXI_GP0 {0|1}
            PCW_USE_S_AXI_HP0 {0|1} PCW_USE_S_AXI_HP1 {0|1} PCW_USE_S_AXI_HP2 {0|1} PCW_USE_S_AXI_HP3 {0|1}
            PCW_S_AXI_HP0_DATA_WIDTH {32|64} PCW_S_AXI_HP1_DATA_WIDTH {32|64}
            PCW_S_AXI_HP2_DATA_WIDTH {32|64} PCW_S_AXI_HP3_DATA_WIDTH {32|64}
            PCW_USE_FABRIC_INTERRUPT {0|1} PCW_IRQ_F2P_INTR {0|1}
        }
        smartconnect:1.0 {NUM_SI {[1-9]|1[0-6]} NUM_MI {[1-9]|1[0-6]} NUM_CLKS {[1-6]}}
        proc_sys_reset:5.0 {}
    }]
    # Bytes of memory by part and width of the bus.
    variable ddr_bytes {
        {MT41J256M16 RE-125,16 Bit} 536870912 {MT41J128M16 HA-15E,32 Bit} 536870912 {MT41K256M16 RE-125,32 Bit} 1073741824
    }

    # Processing systems of the boards, as the boards' own published designs set them: a second look at hdl-gen's table.
    variable board_settings {
        pynq-z2 {
            part xc7z020clg400-1
            ps7 {
                PCW_PRESET_BANK0_VOLTAGE {LVCMOS 3.3V} PCW_PRESET_BANK1_VOLTAGE {LVCMOS 1.8V} PCW_QSPI_PERIPHERAL_ENABLE {1}
                PCW_QSPI_GRP_SINGLE_SS_ENABLE {1} PCW_QSPI_GRP_FBCLK_ENABLE {1} PCW_ENET0_PERIPHERAL_ENABLE {1}
                PCW_ENET0_ENET0_IO {MIO 16 .. 27} PCW_ENET0_GRP_MDIO_ENABLE {1} PCW_ENET0_GRP_MDIO_IO {MIO 52 .. 53}
                PCW_SD0_PERIPHERAL_ENABLE {1} PCW_SD0_SD0_IO {MIO 40 .. 45} PCW_SD0_GRP_CD_ENABLE {1} PCW_SD0_GRP_CD_IO {MIO 47}
                PCW_SDIO_PERIPHERAL_FREQMHZ {50} PCW_USB0_PERIPHERAL_ENABLE {1} PCW_USB0_USB0_IO {MIO 28 .. 39}
                PCW_GPIO_MIO_GPIO_ENABLE {1} PCW_UIPARAM_DDR_TRAIN_WRITE_LEVEL {1} PCW_UIPARAM_DDR_TRAIN_READ_GATE {1}
                PCW_UIPARAM_DDR_TRAIN_DATA_EYE {1} PCW_CRYSTAL_PERIPHERAL_FREQMHZ {50} PCW_APU_PERIPHERAL_FREQMHZ {650}
                PCW_ENET0_RESET_ENABLE {1} PCW_ENET0_RESET_IO {MIO 9} PCW_USB0_RESET_ENABLE {1} PCW_USB0_RESET_IO {MIO 46}
                PCW_UART0_PERIPHERAL_ENABLE {1} PCW_UART0_UART0_IO {MIO 14 .. 15} PCW_UIPARAM_DDR_PARTNO {MT41J256M16 RE-125}
                PCW_UIPARAM_DDR_BUS_WIDTH {16 Bit} PCW_UIPARAM_DDR_FREQ_MHZ {525} PCW_UIPARAM_DDR_BOARD_DELAY0 {0.223}
                PCW_UIPARAM_DDR_BOARD_DELAY1 {0.212} PCW_UIPARAM_DDR_BOARD_DELAY2 {0.085} PCW_UIPARAM_DDR_BOARD_DELAY3 {0.092}
                PCW_UIPARAM_DDR_DQS_TO_CLK_DELAY_0 {0.040} PCW_UIPARAM_DDR_DQS_TO_CLK_DELAY_1 {0.058}
                PCW_UIPARAM_DDR_DQS_TO_CLK_DELAY_2 {-0.009} PCW_UIPARAM_DDR_DQS_TO_CLK_DELAY_3 {-0.033}
            }
        }
        zedboard {
            part xc7z020clg484-1
            ps7 {
                PCW_PRESET_BANK0_VOLTAGE {LVCMOS 3.3V} PCW_PRESET_BANK1_VOLTAGE {LVCMOS 1.8V} PCW_QSPI_PERIPHERAL_ENABLE {1}
                PCW_QSPI_GRP_SINGLE_SS_ENABLE {1} PCW_QSPI_GRP_FBCLK_ENABLE {1} PCW_ENET0_PERIPHERAL_ENABLE {1}
                PCW_ENET0_ENET0_IO {MIO 16 .. 27} PCW_ENET0_GRP_MDIO_ENABLE {1} PCW_ENET0_GRP_MDIO_IO {MIO 52 .. 53}
                PCW_SD0_PERIPHERAL_ENABLE {1} PCW_SD0_SD0_IO {MIO 40 .. 45} PCW_SD0_GRP_CD_ENABLE {1} PCW_SD0_GRP_CD_IO {MIO 47}
                PCW_SDIO_PERIPHERAL_FREQMHZ {50} PCW_USB0_PERIPHERAL_ENABLE {1} PCW_USB0_USB0_IO {MIO 28 .. 39}
                PCW_GPIO_MIO_GPIO_ENABLE {1} PCW_UIPARAM_DDR_TRAIN_WRITE_LEVEL {1} PCW_UIPARAM_DDR_TRAIN_READ_GATE {1}
                PCW_UIPARAM_DDR_TRAIN_DATA_EYE {1} PCW_CRYSTAL_PERIPHERAL_FREQMHZ {33.333333} PCW_APU_PERIPHERAL_FREQMHZ {666.666667}
                PCW_SD0_GRP_WP_ENABLE {1} PCW_SD0_GRP_WP_IO {MIO 46} PCW_UART1_PERIPHERAL_ENABLE {1} PCW_UART1_UART1_IO {MIO 48 .. 49}
                PCW_UIPARAM_DDR_PARTNO {MT41J128M16 HA-15E} PCW_UIPARAM_DDR_BUS_WIDTH {32 Bit} PCW_UIPARAM_DDR_FREQ_MHZ {533.333313}
                PCW_UIPARAM_DDR_USE_INTERNAL_VREF {1} PCW_UIPARAM_DDR_BOARD_DELAY0 {0.41} PCW_UIPARAM_DDR_BOARD_DELAY1 {0.411}
                PCW_UIPARAM_DDR_BOARD_DELAY2 {0.341} PCW_UIPARAM_DDR_BOARD_DELAY3 {0.358} PCW_UIPARAM_DDR_DQS_TO_CLK_DELAY_0 {0.025}
                PCW_UIPARAM_DDR_DQS_TO_CLK_DELAY_1 {0.028} PCW_UIPARAM_DDR_DQS_TO_CLK_DELAY_2 {0.001}
                PCW_UIPARAM_DDR_DQS_TO_CLK_DELAY_3 {0.001}
            }
        }
    }

    variable aximm xilinx.com:interface:aximm_rtl:1.0
    variable ddr xilinx.com:interface:ddrx_rtl:1.0
    variable fixed_io xilinx.com:display_processing_system7:fixedio_rtl:1.0
}

proc mock::known_part {part} {
    variable devices
    foreach {device packages grades} $devices {
        foreach package $packages {
            foreach grade $grades {
                if {$part eq "$device$package-$grade"} { return $part }
            }
        }
    }
    fail "unknown part '$part'"
}

# Bytes of 4096, 4K, 512M, 4G.
proc mock::bytes {text} {
    if {![regexp {^(0x[0-9A-Fa-f]+|[0-9]+)([KMG]?)$} $text -> number unit]} { fail "'$text' is no size" }
    return [expr {$number * [dict get {{} 1 K 1024 M 1048576 G 1073741824} $unit]}]
}

# Interfaces of a configured cell: name, mode, kind. Of aximm.
proc mock::ip_interfaces {ip config} {
    variable aximm
    variable ddr
    variable fixed_io
    set list {}
    switch -- $ip {
        processing_system7:5.5 {
            lappend list DDR master $ddr FIXED_IO master $fixed_io
            if {[on $config PCW_USE_M_AXI_GP0]} { lappend list M_AXI_GP0 master $aximm }
            foreach i {0 1 2 3} {
                if {[on $config PCW_USE_S_AXI_HP$i]} { lappend list S_AXI_HP$i slave $aximm }
            }
        }
        smartconnect:1.0 {
            for {set i 0} {$i < [option $config NUM_SI 0]} {incr i} { lappend list [format S%02d_AXI $i] slave $aximm }
            for {set i 0} {$i < [option $config NUM_MI 0]} {incr i} { lappend list [format M%02d_AXI $i] master $aximm }
        }
    }
    return $list
}

# Pins of a configured cell: name, direction, kind (clock, reset_n, reset, interrupt), 1 if it must be connected.
proc mock::ip_pins {ip config} {
    set list {}
    switch -- $ip {
        processing_system7:5.5 {
            if {[on $config PCW_EN_CLK0_PORT]} { lappend list FCLK_CLK0 out clock 0 }
            if {[on $config PCW_EN_RST0_PORT]} { lappend list FCLK_RESET0_N out reset_n 0 }
            if {[on $config PCW_USE_M_AXI_GP0]} { lappend list M_AXI_GP0_ACLK in clock 1 }
            foreach i {0 1 2 3} {
                if {[on $config PCW_USE_S_AXI_HP$i]} { lappend list S_AXI_HP${i}_ACLK in clock 1 }
            }
            if {[on $config PCW_USE_FABRIC_INTERRUPT] && [on $config PCW_IRQ_F2P_INTR]} { lappend list IRQ_F2P in interrupt 1 }
        }
        smartconnect:1.0 {
            lappend list aclk in clock 1 aresetn in reset_n 1
            for {set i 1} {$i < [option $config NUM_CLKS 0]} {incr i} { lappend list aclk$i in clock 1 }
        }
        proc_sys_reset:5.0 {
            lappend list slowest_sync_clk in clock 1 ext_reset_in in reset_n 1 aux_reset_in in reset_n 0
            lappend list mb_debug_sys_rst in reset 0 dcm_locked in locked 0
            lappend list mb_reset out reset 0 bus_struct_reset out reset 0 peripheral_reset out reset 0
            lappend list interconnect_aresetn out reset_n 0 peripheral_aresetn out reset_n 0
        }
    }
    return $list
}

proc mock::on {config name} {
    return [expr {[option $config $name 0] eq "1"}]
}
