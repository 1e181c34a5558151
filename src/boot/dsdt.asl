// What the PC board has, for the guest's ACPI interpreter. Addresses and interrupts are those of memory_map.hpp
// (namespace vellum::layout); tests/unit/boot holds the two together. ISA devices stand below the ISA bridge, on a board
// without PCI (no VELLUM_PCI) directly below \_SB. A device that does not exist is not described, or says so (_STA).
DefinitionBlock ("", "DSDT", 2, "VELLUM", "VELLUMPC", 0x00000001)
{
    // Soft off: SLP_TYPa, SLP_TYPb (layout::kSleepTypeS5).
    Name (\_S5, Package (0x04) { 0x05, 0x05, 0x00, 0x00 })

#ifdef VELLUM_PCI
#include "dsdt_pci.asl"
    Scope (\_SB.PCI0.ISA)
#else
    Scope (\_SB)
#endif
    {
        // Ports that belong to no device below: PM1 and the PM timer, the reset register. (The memory map reserves
        // the interrupt controllers' addresses.)
        Device (MBRD)
        {
            Name (_HID, EisaId ("PNP0C02"))
            Name (_UID, 0x00)
            Name (_CRS, ResourceTemplate ()
            {
#ifndef VELLUM_PCI
                IO (Decode16, 0x0600, 0x0600, 0x01, 0x0C)    // else a BAR of the PIIX4, as Linux sees it
#endif
                IO (Decode16, 0x0CF9, 0x0CF9, 0x01, 0x01)
            })
        }

        Device (PIC)
        {
            Name (_HID, EisaId ("PNP0000"))
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x0020, 0x0020, 0x01, 0x02)
                IO (Decode16, 0x00A0, 0x00A0, 0x01, 0x02)
                IO (Decode16, 0x04D0, 0x04D0, 0x01, 0x02)
                IRQNoFlags () { 2 }
            })
        }

        Device (TIMR)
        {
            Name (_HID, EisaId ("PNP0100"))
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x0040, 0x0040, 0x01, 0x04)
                IRQNoFlags () { 0 }
            })
        }

        Device (SPKR)
        {
            Name (_HID, EisaId ("PNP0800"))
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x0061, 0x0061, 0x01, 0x01)
            })
        }

        Device (RTC)
        {
            Name (_HID, EisaId ("PNP0B00"))
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x0070, 0x0070, 0x01, 0x02)
                IRQNoFlags () { 8 }
            })
        }

#ifdef VELLUM_PCI
        Device (DMAC)
        {
            Name (_HID, EisaId ("PNP0200"))
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x0000, 0x0000, 0x01, 0x10)
                IO (Decode16, 0x0081, 0x0081, 0x01, 0x0F)
                IO (Decode16, 0x00C0, 0x00C0, 0x01, 0x20)
                DMA (Compatibility, NotBusMaster, Transfer8_16) { 4 }
            })
        }

        Device (FDC0)
        {
            Name (_HID, EisaId ("PNP0700"))
            // Each drive's type, as in CMOS RAM, in a byte; 0 is none. Set when the tables are built.
            Method (FDRV, 0, NotSerialized) { Return (0xFEDCBA9876543212) }
            Method (_STA, 0, NotSerialized)
            {
                If (FDRV () == 0) { Return (0x00) }
                Return (0x0F)
            }
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x03F2, 0x03F2, 0x01, 0x04)
                IO (Decode16, 0x03F7, 0x03F7, 0x01, 0x01)
                IRQNoFlags () { 6 }
                DMA (Compatibility, NotBusMaster, Transfer8) { 2 }
            })
            // Which of four drives are there, and no tape drive.
            Name (FDEB, Buffer (0x14) { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0 })
            Method (_FDE, 0, Serialized)
            {
                CreateDWordField (FDEB, 0x00, FDA)
                CreateDWordField (FDEB, 0x04, FDB)
                If (FDRV () & 0x00FF) { FDA = 1 } Else { FDA = 0 }
                If (FDRV () & 0xFF00) { FDB = 1 } Else { FDB = 0 }
                Return (FDEB)
            }
        }
#endif

        // The 8042: its ports belong to the keyboard, as on every PC.
        Device (KBD)
        {
            Name (_HID, EisaId ("PNP0303"))
            Name (_STA, 0x0F)
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x0060, 0x0060, 0x01, 0x01)
                IO (Decode16, 0x0064, 0x0064, 0x01, 0x01)
                IRQNoFlags () { 1 }
            })
        }

        Device (COM1)
        {
            Name (_HID, EisaId ("PNP0501"))
            Name (_UID, 0x01)
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x03F8, 0x03F8, 0x01, 0x08)
                IRQNoFlags () { 4 }
            })
        }

        Device (COM2)
        {
            Name (_HID, EisaId ("PNP0501"))
            Name (_UID, 0x02)
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x02F8, 0x02F8, 0x01, 0x08)
                IRQNoFlags () { 3 }
            })
        }
    }
}
