// A driver of a floppy disk controller with one or two drives and of the DMA that it uses: register accesses,
// whole commands, data by the FIFO, saves and restores between, also of damaged states. No request may leave
// the disk.
#include <fmt/ranges.h>

#include <algorithm>
#include <optional>

#include "base/assert.hpp"
#include "devices/floppy/controller.hpp"
#include "fuzz_disk.hpp"
#include "fuzz_input.hpp"

using namespace vellum;
using floppy::Controller;
using fuzz::FuzzDisk, fuzz::NullLine;

namespace {

constexpr u64 kRam = 64 << 10;

struct Rig {
  std::unique_ptr<EventLoop> loop = std::move(*EventLoop::create());
  std::unique_ptr<GuestRam> ram = std::move(*GuestRam::create(kRam));
  std::shared_ptr<FuzzDisk> disk = std::make_shared<FuzzDisk>(1440 << 10), second;
  NullLine line;
  std::unique_ptr<IsaDma> dma;
  std::optional<Controller> controller;

  void insert(const Controller::State& state, const IsaDma::State& dma_state) {
    controller.reset();
    dma = std::make_unique<IsaDma>(DmaView(*ram), dma_state);
    controller.emplace(IoContext{loop.get(), true}, Controller::Media{disk, second}, line, *dma, state);
  }
};

void restore(Rig& rig, fuzz::Input& input, bool damage) {
  rig.controller->quiesce();
  SavedState saved = rig.controller->save();
  const auto dma = decode_state<IsaDma::State>(rig.dma->save());
  if (damage) {
    const std::size_t at = input.take<u16>() % saved.bytes.size();
    saved.bytes[at] = input.take<u8>();
  }
  const auto state = decode_state<Controller::State>(saved);
  if (!state) return;
  rig.insert(*state, *dma);
  const auto bytes = rig.controller->save().bytes;
  VELLUM_ASSERT(damage || bytes == saved.bytes, "{} became {}", fmt::join(saved.bytes, " "),
                fmt::join(bytes, " "));
  rig.controller->resume();
}

void step(Rig& rig, fuzz::Input& input) {
  Controller& controller = *rig.controller;
  const auto data = [&](u8 value) { controller.write(floppy::kData, 1, value); };
  switch (input.take<u8>() & 15) {
    case 0:
      return controller.write(input.below(6), 1 << input.below(3), input.take<u32>());
    case 1:
      controller.read(input.below(6), 1 << input.below(3));
      return;
    case 2:  // out of reset, a motor on
      return controller.write(floppy::kDigitalOutput, 1, 0x3c | (input.take<u8>() & 3));
    case 3:
      return controller.write(floppy::kConfigurationControl, 1, input.take<u8>());
    case 4: {  // a command of any kind
      for (unsigned n = input.below(10); n > 0; --n) data(input.take<u8>());
      return;
    }
    case 5:
    case 6: {  // one that moves data, mostly well-formed
      constexpr u8 kFirst[] = {0xe6, 0xc5, 0x46, 0x45, 0x42, 0x4c, 0xd6, 0xcc, 0x49, 0x6c};
      const u8 unit = input.take<u8>() & 0x85, cylinder = input.take<u8>() & 3;
      data(kFirst[input.below(std::size(kFirst))]), data(unit), data(cylinder);
      data(unit >> 2 & 1), data(static_cast<u8>(input.below(20))), data(2);
      return data(static_cast<u8>(input.below(38))), data(0x1b), data(input.take<u8>());
    }
    case 7: {
      data(0x4d), data(input.take<u8>() & 0x07), data(2);
      return data(static_cast<u8>(input.below(40))), data(0x54), data(0xf6);
    }
    case 8:
      for (unsigned n = input.take<u16>() & 0x7ff; n > 0; --n) controller.read(floppy::kData, 1);
      return;
    case 9:
      for (unsigned n = input.take<u16>() & 0x7ff; n > 0; --n) data(static_cast<u8>(n));
      return;
    case 10:
      return rig.dma->first_ports().write(input.below(16), 1, input.take<u8>());
    case 11: {  // channel 2, open
      BusDevice& chip = rig.dma->first_ports();
      chip.write(11, 1, 2 | (input.take<u8>() & 0xfc));
      for (unsigned reg = 4; reg < 6; ++reg)
        chip.write(reg, 1, input.take<u8>()), chip.write(reg, 1, input.take<u8>());
      rig.dma->page_ports().write(0, 1, input.take<u8>() & 3);
      return chip.write(10, 1, 2);
    }
    case 12:
      return rig.dma->second_ports().write(input.below(32), 1, input.take<u8>());
    case 13:
      rig.disk->fails = (input.take<u8>() & 7) == 0;
      return;
    case 14:
      return restore(rig, input, false);
    default:
      return restore(rig, input, true);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
  Rig rig;
  fuzz::Input input(data, std::min<std::size_t>(size, 4096));
  const u8 what = input.take<u8>();
  rig.disk->is_read_only = (what & 7) == 0;
  if ((what & 8) != 0) rig.second = std::make_shared<FuzzDisk>(2880 << 10);
  rig.insert({}, {});
  rig.dma->open_cascade();
  while (!input.empty()) step(rig, input);
  return 0;
}
