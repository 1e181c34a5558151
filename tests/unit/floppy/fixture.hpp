// A floppy disk controller with a 1.44M drive and one for 2.88M, as software reaches them.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <optional>

#include "../virtio/memory_disk.hpp"
#include "devices/floppy/controller.hpp"

namespace vellum::test {

class FloppyLine final : public InterruptLine {
 public:
  void set(bool asserted) override {
    if (asserted && !level) ++edges;
    level = asserted;
  }
  bool level = false;
  unsigned edges = 0;
};

/// Work is done before whoever asks for it goes on. The controller is out of reset, its interrupts seen, the
/// first drive selected, its motor on, the rate 500 kbit/s.
struct Floppy : testing::Test {
  static constexpr u32 kBuffer = 0x4000;
  static constexpr u64 kTrack = 18 * 512;

  Floppy() {
    disk->bytes.resize(1440 << 10);
    for (std::size_t n = 0; n < disk->bytes.size(); ++n) disk->bytes[n] = static_cast<u8>(n / 512 * 3 + n);
    other->bytes.resize(2880 << 10);
    dma->open_cascade();
    insert({});
    out(floppy::kDigitalOutput, 0x1c);
    for (int n = 0; n < 4; ++n) command({0x08});
    out(floppy::kConfigurationControl, floppy::k500);
    line.edges = 0;
  }
  ~Floppy() override { controller.reset(); }
  void insert(const floppy::Controller::State& state) {
    controller.reset();
    controller.emplace(IoContext{loop.get(), true}, floppy::Controller::Media{disk, other}, line, *dma,
                       state);
  }
  /// Saved, and restored, DMA included.
  void move_on() {
    controller->quiesce();
    const auto state = decode_state<floppy::Controller::State>(controller->save());
    const auto dma_state = decode_state<IsaDma::State>(dma->save());
    controller.reset();
    dma = std::make_unique<IsaDma>(DmaView(*ram), *dma_state);
    insert(*state);
    controller->resume();
  }

  u8 in(u64 offset) { return static_cast<u8>(controller->read(offset, 1)); }
  void out(u64 offset, unsigned value) { controller->write(offset, 1, value); }
  u8 status() { return in(floppy::kMainStatus); }
  void give(std::initializer_list<u8> bytes) {
    for (const u8 byte : bytes) out(floppy::kData, byte);
  }
  /// As many bytes as are offered.
  std::vector<u8> take() {
    std::vector<u8> all;
    while ((status() & 0xc0) == 0xc0) all.push_back(in(floppy::kData));
    return all;
  }
  std::vector<u8> command(std::initializer_list<u8> bytes) {
    give(bytes);
    return take();
  }
  void seek(u8 cylinder) {
    command({0x0f, 0, cylinder});
    command({0x08});
  }

  /// Channel 2, open.
  void dma_ready(u8 mode, u32 bytes, u32 address = kBuffer) {
    BusDevice& chip = dma->first_ports();
    chip.write(10, 1, 6);
    chip.write(12, 1, 0);
    chip.write(11, 1, mode | 2u);
    chip.write(4, 1, address & 0xff);
    chip.write(4, 1, address >> 8 & 0xff);
    chip.write(5, 1, (bytes - 1) & 0xff);
    chip.write(5, 1, (bytes - 1) >> 8);
    dma->page_ports().write(0, 1, address >> 16);
    chip.write(10, 1, 2);
  }
  void dma_to_memory(u32 bytes) { dma_ready(0x44, bytes); }
  void dma_from_memory(u32 bytes) { dma_ready(0x48, bytes); }
  std::vector<u8> memory(u64 size) {
    const u8* const host = ram->host(GuestPhys(kBuffer));
    return {host, host + size};
  }
  void fill_memory(u64 size, u8 value) { std::fill_n(ram->host(GuestPhys(kBuffer)), size, value); }
  static std::vector<u8> part(const std::vector<u8>& from, std::size_t start, std::size_t size) {
    return {from.begin() + static_cast<long>(start), from.begin() + static_cast<long>(start + size)};
  }

  std::unique_ptr<EventLoop> loop = std::move(*EventLoop::create());
  std::unique_ptr<GuestRam> ram = std::move(*GuestRam::create(256 << 10));
  std::unique_ptr<IsaDma> dma = std::make_unique<IsaDma>(DmaView(*ram));
  std::shared_ptr<MemoryDisk> disk = std::make_shared<MemoryDisk>(), other = std::make_shared<MemoryDisk>();
  FloppyLine line;
  std::optional<floppy::Controller> controller;
};

using Bytes = std::vector<u8>;

}  // namespace vellum::test
