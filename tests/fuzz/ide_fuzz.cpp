// A driver of an IDE channel with a disk and a CD-ROM drive: register accesses, data, bus master tables,
// other media, saves and restores between, also of damaged states. No request may leave the disk, nothing the
// buffers.
#include <algorithm>
#include <optional>

#include "base/assert.hpp"
#include "base/snapshot.hpp"
#include "devices/ide/channel.hpp"
#include "fuzz_disk.hpp"
#include "fuzz_input.hpp"

using namespace vellum;
using fuzz::FuzzDisk, fuzz::NullLine;

namespace {

constexpr u64 kRam = 64 << 10, kTable = 0x1000;

struct Rig {
  std::unique_ptr<EventLoop> loop = std::move(*EventLoop::create());
  std::unique_ptr<GuestRam> ram = std::move(*GuestRam::create(kRam));
  std::shared_ptr<FuzzDisk> disk = std::make_shared<FuzzDisk>(80 * Disk::kSector),
                            first = std::make_shared<FuzzDisk>(80 * Disk::kSector),
                            second = std::make_shared<FuzzDisk>(8 * Disk::kSector), cd = first;
  NullLine line;
  std::optional<ide::Channel> channel;

  void insert(const ide::ChannelState& state) {
    channel.reset();
    channel.emplace(IoContext{loop.get(), true},
                    std::array<ide::Drive, 2>{ide::Drive{disk, "s", false}, ide::Drive{cd, "", true}}, line,
                    DmaView(*ram), "ide", state);
  }
};

struct Saved {
  static constexpr std::string_view kKind = "ide-channel";
  static constexpr u32 kVersion = 1;
  ide::ChannelState channel;
  template <class V>
  void visit(V& v) {
    v(channel);
  }
};

void restore(Rig& rig, fuzz::Input& input, bool damage) {
  rig.channel->quiesce();
  Saved now;
  now.channel = rig.channel->state();
  SavedState saved = encode_state(now);
  if (damage) {
    const std::size_t at = input.take<u16>() % saved.bytes.size();
    saved.bytes[at] = input.take<u8>();
  }
  const auto state = decode_state<Saved>(saved);
  if (!state) return;
  rig.insert(state->channel);
  if (!damage && rig.channel->state().buffer != now.channel.buffer) __builtin_trap();
  rig.channel->resume();
}

void step(Rig& rig, fuzz::Input& input) {
  ide::Channel& channel = *rig.channel;
  switch (input.take<u8>() & 15) {
    case 0:
    case 1:
    case 2:
    case 3:
    case 4:
      return channel.write(static_cast<u8>(1 + input.below(7)), input.take<u8>());
    case 5:
      channel.read(static_cast<ide::Register>(input.below(8)));
      return;
    case 6:
      channel.alternate_status();
      return channel.write_control(input.take<u8>());
    case 7:
      for (unsigned n = input.take<u16>() & 0xfff; n > 0; --n) channel.read_data(4);
      return;
    case 8:
      for (unsigned n = input.take<u16>() & 0x7ff; n > 0; --n) channel.write_data(2, n * 77 & 0xffff);
      return;
    case 9: {  // a packet
      for (unsigned n = 0; n < 6; ++n) channel.write_data(2, input.take<u16>());
      return;
    }
    case 10:
    case 11:
      return channel.write_master(input.below(8), input.take<u8>());
    case 12: {  // a table, and where it is
      for (u64 at = kTable; at < kTable + 64; at += 4)
        guest_store<u32>(rig.ram->host(GuestPhys(at)), input.take<u32>());
      for (unsigned n = 0; n < 4; ++n) channel.write_master(4 + n, static_cast<u8>(kTable >> (8 * n)));
      return;
    }
    case 13: {
      const u8 what = input.take<u8>();
      rig.disk->fails = rig.first->fails = (what & 7) == 0;
      const std::shared_ptr<FuzzDisk> media[] = {rig.first, rig.second, nullptr};
      const unsigned next = what >> 3 & 3;
      if (next < 3 && channel.change(1, media[next], (what & 0x80) != 0)) rig.cd = media[next];
      return;
    }
    case 14:
      return restore(rig, input, false);
    default:
      return restore(rig, input, true);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
  Rig rig;
  rig.disk->takes_empty = rig.first->takes_empty = rig.second->takes_empty = true;
  rig.insert({});
  fuzz::Input input(data, std::min<std::size_t>(size, 4096));
  while (!input.empty()) step(rig, input);
  return 0;
}
