#include "irq/apic_bus.hpp"
#include "pci_board.hpp"

namespace vellum {
namespace {

class CountingPort final : public BusDevice {
 public:
  u64 read(u64, unsigned) override { return 0x5a; }
  void write(u64, unsigned, u64 value) override { written.push_back(value); }
  std::vector<u64> written;
};

struct Bridges : ::testing::Test, test::PciBoard {
  Bridges() {
    bus.connect(isa);
    bus.add(pci::devfn(0, 0), host);
    bus.add(pci::devfn(1, 0), isa);
    bus.add(pci::devfn(1, 3), pm);
    EXPECT_TRUE(ports.add(pci::ConfigPorts::kPort, pci::ConfigPorts::kPortCount, config, "pci-config"));
  }
  bool pic_sees(unsigned irq) {
    const u64 port = irq < 8 ? 0 : 2;
    pic.write(port, 1, 0x0a);  // IRR
    return (pic.read(port, 1) >> (irq & 7) & 1) != 0;
  }
  ApicBus apics;
  Pic pic;
  IoApic ioapic{apics, 0xf0000};
  GsiRouter router{pic, ioapic, apics};
  CountingPort reset, acpi;
  pci::I440Fx host{bus};
  pci::Piix3 isa{bus, router};
  pci::Piix4Pm pm{bus, acpi, 12};
  pci::ConfigPorts config{bus, reset};
};

TEST_F(Bridges, ConfigurationGoesThroughAddressAndData) {
  ports.write(0xcf8, 4, 0x8000'0000);
  EXPECT_EQ(ports.read(0xcf8, 4), 0x8000'0000u);
  EXPECT_EQ(ports.read(0xcfc, 4), 0x1237'8086u);
  EXPECT_EQ(ports.read(0xcfe, 2), 0x1237u);
  EXPECT_EQ(ports.read(0xcfd, 1), 0x80u);
  ports.write(0xcf8, 4, 0x8000'0800);
  EXPECT_EQ(ports.read(0xcfc, 4), 0x7000'8086u);
  ports.write(0xcf8, 4, 0x8000'0b00);
  EXPECT_EQ(ports.read(0xcfc, 4), 0x7113'8086u);
}

TEST_F(Bridges, WithoutTheEnableBitNothingAnswers) {
  ports.write(0xcf8, 4, 0);
  EXPECT_EQ(ports.read(0xcfc, 4), 0xffff'ffffu);
  ports.write(0xcf8, 4, 0x8000'0000);
  ports.write(0xcf8, 2, 0);  // not a doubleword: no access to CONFIG_ADDRESS
  EXPECT_EQ(ports.read(0xcfc, 2), 0x8086u);
}

TEST_F(Bridges, AByteAtCf9IsTheResetRegister) {
  ports.write(0xcf8, 4, 0x8000'0000);
  ports.write(0xcf9, 1, 6);
  EXPECT_EQ(reset.written, std::vector<u64>{6});
  EXPECT_EQ(ports.read(0xcf9, 1), 0x5au);
  EXPECT_EQ(ports.read(0xcf8, 4), 0x8000'0000u);
}

TEST_F(Bridges, AttributesDescribeSegments) {
  int heard = 0;
  host.on_segments_changed([&] { ++heard; });
  EXPECT_FALSE(host.segments()[12].read_ram);
  host.write_config(0x59, 1, 0x10);
  host.write_config(0x5c, 1, 0x21);  // PAM3: 0xd0000 reads RAM, 0xd4000 is written to RAM
  EXPECT_EQ(heard, 2);
  const auto segments = host.segments();
  EXPECT_EQ(segments[12].start, GuestPhys(0xf0000));
  EXPECT_EQ(segments[12].size, 0x10000u);
  EXPECT_TRUE(segments[12].read_ram);
  EXPECT_FALSE(segments[12].write_ram);
  EXPECT_EQ(segments[4].start, GuestPhys(0xd0000));
  EXPECT_TRUE(segments[4].read_ram && !segments[4].write_ram);
  EXPECT_EQ(segments[5].start, GuestPhys(0xd4000));
  EXPECT_TRUE(!segments[5].read_ram && segments[5].write_ram);
  host.write_config(0x60, 1, 0);
  EXPECT_EQ(heard, 2);
}

TEST_F(Bridges, AWireGoesWhereItsControlRegisterSays) {
  pic.write(4, 1, 0x00);
  pic.write(5, 1, 0x0c);  // ELCR: 10 and 11 are levels
  isa.set_pirq(1, true);
  EXPECT_FALSE(pic_sees(10));  // disabled at power-on
  isa.write_config(0x61, 1, 10);
  EXPECT_TRUE(pic_sees(10));
  isa.write_config(0x61, 1, 11);
  EXPECT_FALSE(pic_sees(10));
  EXPECT_TRUE(pic_sees(11));
  isa.write_config(0x61, 1, 8);  // the RTC's: reserved
  EXPECT_FALSE(pic_sees(8));
  EXPECT_FALSE(pic_sees(11));
}

TEST_F(Bridges, TwoWiresShareAnIrq) {
  pic.write(5, 1, 0x0c);
  isa.write_config(0x60, 2, 0x0a0a);
  isa.set_pirq(0, true);
  isa.set_pirq(1, true);
  isa.set_pirq(0, false);
  EXPECT_TRUE(pic_sees(10));
  isa.set_pirq(1, false);
  EXPECT_FALSE(pic_sees(10));
}

TEST_F(Bridges, AcpiRegistersAreWhereThePowerManagementFunctionPutsThem) {
  ports.write(0x600, 1, 1);
  EXPECT_TRUE(acpi.written.empty());
  EXPECT_FALSE(pm.base());
  pm.set_base(0x600);
  ports.write(0x604, 1, 2);
  EXPECT_EQ(acpi.written, std::vector<u64>{2});
  pm.write_config(0x40, 4, 0xb001);  // OVMF's place
  EXPECT_EQ(pm.base(), std::optional<u16>(0xb000));
  EXPECT_EQ(ports.read(0xb008, 1), 0x5au);
  EXPECT_EQ(ports.read(0x608, 1), 0xffu);
  pm.write_config(0x80, 1, 0);
  EXPECT_EQ(ports.read(0xb008, 1), 0xffu);
}

TEST_F(Bridges, FirmwareGivesEveryBarAPlaceOfItsOwn) {
  test::TestFunction one(*this), two(*this);
  bus.add(pci::devfn(3, 0), one);
  bus.add(pci::devfn(4, 0), two);
  const pci::Windows windows{0xe000'0000, 0xfec0'0000, u64{4} << 30, u64{1} << 40, 0xc000, 0x10000};
  ASSERT_TRUE(pci::assign_resources(bus, windows));
  EXPECT_EQ(one.read_config(pci::kBar0 + 12, 4), 1u);  // prefetchable: above 4 GiB
  EXPECT_EQ(one.read_config(pci::kBar0 + 4, 4), 0xc001u);
  EXPECT_EQ(two.read_config(pci::kBar0 + 4, 4), 0xc021u);
  EXPECT_NE(one.read_config(pci::kBar0, 4), two.read_config(pci::kBar0, 4));
  EXPECT_EQ(one.read_config(pci::kCommand, 2), u32{pci::kIoEnable | pci::kMemoryEnable});
  EXPECT_EQ(one.read_config(pci::kInterruptLine, 1), 11u);  // wire 2
  mmio.write(two.read_config(pci::kBar0, 4), 4, 1);
  EXPECT_EQ(two.memory.writes.size(), 1u);
}

TEST_F(Bridges, FirmwareSaysWhenThereIsNoRoom) {
  test::TestFunction one(*this);
  bus.add(pci::devfn(3, 0), one);
  EXPECT_FALSE(pci::assign_resources(bus, {0xe000'0000, 0xe000'1000, 0, 0, 0xc000, 0x10000}));
}

TEST_F(Bridges, StatesComeBack) {
  pm.set_base(0x600);
  isa.write_config(0x61, 1, 11);
  host.open_all_segments();
  ports.write(0xcf8, 4, 0x8000'0804);
  Bus other_mmio{"mmio"}, other_ports{"port"};
  AddressSpace other{*ram, other_mmio, other_ports};
  pci::Bus other_bus{other, msi};
  pci::I440Fx host2(other_bus, *decode_state<pci::I440Fx::State>(host.save()));
  pci::Piix3 isa2(other_bus, router, *decode_state<pci::Piix3::State>(isa.save()));
  pci::Piix4Pm pm2(other_bus, acpi, 12, *decode_state<pci::Piix4Pm::State>(pm.save()));
  pci::ConfigPorts config2(other_bus, reset, *decode_state<pci::ConfigPorts::State>(config.save()));
  other_bus.add(pci::devfn(1, 3), pm2);
  EXPECT_TRUE(host2.segments()[0].write_ram);
  EXPECT_EQ(isa2.read_config(0x61, 1), 11u);
  EXPECT_EQ(other_ports.read(0x600, 1), 0x5au);
  EXPECT_EQ(config2.read(0, 4), 0x8000'0804u);
}

}  // namespace
}  // namespace vellum
