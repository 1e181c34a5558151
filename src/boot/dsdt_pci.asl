// The PCI part of the DSDT: host bridge, interrupt links, ISA bridge. Included by dsdt.asl.
//
// Interrupts: device n's pin p drives wire (n + p - 1) mod 4, counted from 0 (layout::pci_wire). With I/O APICs wire w is
// global system interrupt 16 + w; without, link w routes it to an ISA IRQ through the ISA bridge's PIRQRC[w].

    // Where PCI memory begins, below 4 GiB and above RAM: set when the tables are built. (Not by an SSDT: External is
    // an opcode that SeaBIOS's parser does not know, and gives up at, as it does at a 64-bit number outside a method.)
    Method (PML0, 0, NotSerialized) { Return (0xFEDCBA9876543210) }
    Method (PMH0, 0, NotSerialized) { Return (0xFEDCBA9876543211) }

    // 0: 8259s, 1: I/O APICs. The operating system says which it uses.
    Name (\PICM, 0x00)
    Method (\_PIC, 1, NotSerialized)
    {
        PICM = Arg0
    }

    Scope (\_SB)
    {
        Device (PCI0)
        {
            Name (_HID, EisaId ("PNP0A03"))
            Name (_BBN, 0x00)
            Name (_UID, 0x00)

            Name (WIND, ResourceTemplate ()
            {
                WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode, 0x0000, 0x0000, 0x00FF, 0x0000, 0x0100)
                IO (Decode16, 0x0CF8, 0x0CF8, 0x01, 0x08)
                WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange,
                    0x0000, 0x0000, 0x0CF7, 0x0000, 0x0CF8)
                WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange,
                    0x0000, 0x0D00, 0xFFFF, 0x0000, 0xF300)
                DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, Cacheable, ReadWrite,
                    0x00000000, 0x000A0000, 0x000BFFFF, 0x00000000, 0x00020000)
                DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable, ReadWrite,
                    0x00000000, 0xC0000000, 0xFEBFFFFF, 0x00000000, 0x3EC00000, , , LOW0)
                QWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, Cacheable, ReadWrite,
                    0x0000000000000000, 0x0000008000000000, 0x000000FFFFFFFFFF, 0x0000000000000000,
                    0x0000008000000000, , , HIGH)
            })
            Method (_CRS, 0, Serialized)
            {
                CreateDWordField (WIND, \_SB.PCI0.LOW0._MIN, LMIN)
                CreateDWordField (WIND, \_SB.PCI0.LOW0._LEN, LLEN)
                CreateQWordField (WIND, \_SB.PCI0.HIGH._MIN, HMIN)
                CreateQWordField (WIND, \_SB.PCI0.HIGH._LEN, HLEN)
                LMIN = PML0 ()
                LLEN = 0xFEC00000 - PML0 ()
                HMIN = PMH0 ()
                HLEN = 0x0000010000000000 - PMH0 ()
                Return (WIND)
            }

            Method (_PRT, 0, NotSerialized)
            {
                Local0 = Package (0x80) {}
                Local1 = 0
                While (Local1 < 0x80)
                {
                    Local2 = Local1 >> 2                  // device
                    Local3 = (Local2 + Local1 + 3) & 3    // wire
                    If (PICM)
                    {
                        Local4 = Package (0x04) { 0, 0, 0, 0 }
                        Local4[3] = 16 + Local3
                    }
                    ElseIf (Local3 == 0) { Local4 = Package (0x04) { 0, 0, LNKA, 0 } }
                    ElseIf (Local3 == 1) { Local4 = Package (0x04) { 0, 0, LNKB, 0 } }
                    ElseIf (Local3 == 2) { Local4 = Package (0x04) { 0, 0, LNKC, 0 } }
                    Else { Local4 = Package (0x04) { 0, 0, LNKD, 0 } }
                    Local4[0] = (Local2 << 16) | 0xFFFF
                    Local4[1] = Local1 & 3
                    Local0[Local1] = Local4
                    Local1++
                }
                Return (Local0)
            }

            Device (ISA)
            {
                Name (_ADR, 0x00010000)
                OperationRegion (PIRQ, PCI_Config, 0x60, 0x04)
                Field (PIRQ, ByteAcc, NoLock, Preserve)
                {
                    PRQ0, 8,
                    PRQ1, 8,
                    PRQ2, 8,
                    PRQ3, 8
                }
            }
        }

        Scope (PCI0)
        {
            // The links, each with its byte of PIRQRC: bit 7 set is no IRQ, else bits 3..0 name one.
            Method (LSTA, 1, NotSerialized)
            {
                If (Arg0 & 0x80) { Return (0x09) }
                Return (0x0B)
            }
            Name (BUFF, ResourceTemplate () { IRQ (Level, ActiveHigh, Shared) { 0 } })
            Method (LCRS, 1, Serialized)
            {
                CreateWordField (BUFF, 0x01, MASK)
                If (Arg0 & 0x80) { MASK = 0 } Else { MASK = 1 << (Arg0 & 0x0F) }
                Return (BUFF)
            }
            Method (LIRQ, 1, NotSerialized)
            {
                CreateWordField (Arg0, 0x01, MASK)
                FindSetRightBit (MASK, Local0)
                Return (Local0 - 1)
            }

            Device (LNKA)
            {
                Name (_HID, EisaId ("PNP0C0F"))
                Name (_UID, 0x01)
                Name (_PRS, ResourceTemplate () { IRQ (Level, ActiveHigh, Shared) { 5, 10, 11 } })
                Method (_STA, 0, NotSerialized) { Return (LSTA (^^ISA.PRQ0)) }
                Method (_DIS, 0, NotSerialized) { ^^ISA.PRQ0 |= 0x80 }
                Method (_CRS, 0, NotSerialized) { Return (LCRS (^^ISA.PRQ0)) }
                Method (_SRS, 1, NotSerialized) { ^^ISA.PRQ0 = LIRQ (Arg0) }
            }

            Device (LNKB)
            {
                Name (_HID, EisaId ("PNP0C0F"))
                Name (_UID, 0x02)
                Name (_PRS, ResourceTemplate () { IRQ (Level, ActiveHigh, Shared) { 5, 10, 11 } })
                Method (_STA, 0, NotSerialized) { Return (LSTA (^^ISA.PRQ1)) }
                Method (_DIS, 0, NotSerialized) { ^^ISA.PRQ1 |= 0x80 }
                Method (_CRS, 0, NotSerialized) { Return (LCRS (^^ISA.PRQ1)) }
                Method (_SRS, 1, NotSerialized) { ^^ISA.PRQ1 = LIRQ (Arg0) }
            }

            Device (LNKC)
            {
                Name (_HID, EisaId ("PNP0C0F"))
                Name (_UID, 0x03)
                Name (_PRS, ResourceTemplate () { IRQ (Level, ActiveHigh, Shared) { 5, 10, 11 } })
                Method (_STA, 0, NotSerialized) { Return (LSTA (^^ISA.PRQ2)) }
                Method (_DIS, 0, NotSerialized) { ^^ISA.PRQ2 |= 0x80 }
                Method (_CRS, 0, NotSerialized) { Return (LCRS (^^ISA.PRQ2)) }
                Method (_SRS, 1, NotSerialized) { ^^ISA.PRQ2 = LIRQ (Arg0) }
            }

            Device (LNKD)
            {
                Name (_HID, EisaId ("PNP0C0F"))
                Name (_UID, 0x04)
                Name (_PRS, ResourceTemplate () { IRQ (Level, ActiveHigh, Shared) { 5, 10, 11 } })
                Method (_STA, 0, NotSerialized) { Return (LSTA (^^ISA.PRQ3)) }
                Method (_DIS, 0, NotSerialized) { ^^ISA.PRQ3 |= 0x80 }
                Method (_CRS, 0, NotSerialized) { Return (LCRS (^^ISA.PRQ3)) }
                Method (_SRS, 1, NotSerialized) { ^^ISA.PRQ3 = LIRQ (Arg0) }
            }
        }
    }
