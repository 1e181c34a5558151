// A channel with a disk and a CD-ROM drive, as software reaches it.
#pragma once

#include <gtest/gtest.h>

#include <memory>

#include "../virtio/memory_disk.hpp"
#include "devices/ide/channel.hpp"

namespace vellum::test {

class IdeLine final : public InterruptLine {
 public:
  void set(bool asserted) override {
    if (asserted && !level) ++edges;
    level = asserted;
  }
  bool level = false;
  unsigned edges = 0;
};

/// The disk is device 0, the CD-ROM drive device 1; work is done before whoever asks for it goes on.
struct Ide : testing::Test {
  static constexpr u64 kTable = 0x1000, kBuffer = 0x4000;

  Ide() {
    for (std::size_t n = 0; n < disk->bytes.size(); ++n) disk->bytes[n] = static_cast<u8>(n / 512 * 3 + n);
    for (std::size_t n = 0; n < cd->bytes.size(); ++n) cd->bytes[n] = static_cast<u8>(n / 2048 * 5 + n);
    insert({});
    select(0);
  }
  /// Not `synchronous`: work is done on the loop's thread, and what the media are asked for waits.
  void insert(const ide::ChannelState& state, bool synchronous = true) {
    channel.reset();
    const IoContext context{loop.get(), synchronous};
    channel.emplace(
        context,
        std::array<ide::Drive, 2>{ide::Drive{disk, "serial", both_cdroms}, ide::Drive{cd, "", has_cdrom}},
        line, DmaView(*ram), "ide0", state);
  }

  u8 status() { return channel->read(ide::kStatus); }
  void select(unsigned device) { channel->write(ide::kDevice, static_cast<u8>(0xe0 | device << 4)); }
  void address(u32 sector, u8 count) {
    channel->write(ide::kCount, count);
    channel->write(ide::kLbaLow, static_cast<u8>(sector));
    channel->write(ide::kLbaMid, static_cast<u8>(sector >> 8));
    channel->write(ide::kLbaHigh, static_cast<u8>(sector >> 16));
  }
  void command(u8 code) { channel->write(ide::kCommand, code); }
  std::vector<u8> take(unsigned bytes) {
    std::vector<u8> all;
    for (unsigned n = 0; n < bytes; n += 2) {
      const u32 word = channel->read_data(2);
      all.push_back(static_cast<u8>(word)), all.push_back(static_cast<u8>(word >> 8));
    }
    return all;
  }
  void give(std::span<const u8> bytes) {
    for (std::size_t n = 0; n < bytes.size(); n += 4)
      channel->write_data(
          4, u32{bytes[n]} | u32{bytes[n + 1]} << 8 | u32{bytes[n + 2]} << 16 | u32{bytes[n + 3]} << 24);
  }
  static std::vector<u8> part(const std::vector<u8>& from, std::size_t start, std::size_t size) {
    return {from.begin() + static_cast<long>(start), from.begin() + static_cast<long>(start + size)};
  }
  static unsigned word(const std::vector<u8>& bytes, unsigned n) {
    return bytes[2 * n] | bytes[2 * n + 1] << 8;
  }

  struct Region {
    u32 at, size;
  };
  void regions(std::initializer_list<Region> all) {
    u64 at = kTable;
    for (const Region& region : all) {
      guest_store<u32>(ram->host(GuestPhys(at)), region.at);
      const u32 last = &region == all.end() - 1 ? 0x8000'0000 : 0;
      guest_store<u32>(ram->host(GuestPhys(at + 4)), region.size | last);
      at += 8;
    }
    for (unsigned n = 0; n < 4; ++n) channel->write_master(4 + n, static_cast<u8>(kTable >> (8 * n)));
  }
  std::vector<u8> memory(u64 at, u64 size) {
    const u8* const host = ram->host(GuestPhys(at));
    return {host, host + size};
  }
  void packet(std::initializer_list<u8> bytes, u16 limit = 0xfffe, bool dma = false) {
    channel->write(ide::kFeatures, dma ? 1 : 0);
    channel->write(ide::kLbaMid, static_cast<u8>(limit));
    channel->write(ide::kLbaHigh, static_cast<u8>(limit >> 8));
    command(ide::kPacket);
    std::vector<u8> all(bytes);
    all.resize(12);
    give(all);
  }

  std::unique_ptr<EventLoop> loop = std::move(*EventLoop::create());
  std::unique_ptr<GuestRam> ram = std::move(*GuestRam::create(256 << 10));
  std::shared_ptr<MemoryDisk> disk = std::make_shared<MemoryDisk>(), cd = std::make_shared<MemoryDisk>();
  bool has_cdrom = true, both_cdroms = false;
  IdeLine line;
  std::optional<ide::Channel> channel;
};

inline constexpr u8 kIdle = ide::kReady | ide::kSeekDone, kOffers = kIdle | ide::kDataRequest;

}  // namespace vellum::test
