// Builds boards from damaged saved states. Whatever bytes a state has, it is refused with an error or gives a
// board that can run: its devices take accesses and time, its vCPUs execute, and it can be saved again.
//
// The input is a sequence of changes to the states of a good board: which state, where, and the bytes to put
// there (a length byte below 16), or what its length becomes.
#include "fuzz_board.hpp"
#include "fuzz_input.hpp"
#include "fuzz_watchdog.hpp"

using namespace vellum;

namespace {

void damage(std::vector<SavedState>& states, fuzz::Input& input) {
  SavedState& state = states[input.below(static_cast<unsigned>(states.size()))];
  const std::size_t at = input.take<u16>() % (state.bytes.size() + 1);
  const u8 length = input.take<u8>();
  if (length >= 0xf8) {
    state.bytes.resize(at);
  } else if (length >= 0xf0) {
    const auto bytes = input.take_bytes(length & 7);
    state.bytes.insert(state.bytes.begin() + static_cast<std::ptrdiff_t>(at), bytes.begin(), bytes.end());
  } else {
    const auto bytes = input.take_bytes(std::min<std::size_t>(length & 15, state.bytes.size() - at));
    std::copy(bytes.begin(), bytes.end(), state.bytes.begin() + static_cast<std::ptrdiff_t>(at));
  }
}

void exercise_devices(Board& board) {
  AddressSpace& space = fuzz::vcpu(board, 0).space;
  for (const u64 ns : {0ull, 1'000ull, 1'000'000'000ull}) {
    fuzz::advance(board, ns);
    for (u64 port = 0; port < 0x1000; ++port) space.ports.read(port, 1);
    for (u64 port = 0x20; port < 0x4d8; port += 3) space.ports.write(port, 1, port * 37 & 0xff);
    for (u64 offset = 0; offset < 0x400; offset += 16) {
      for (unsigned n = 0; n < fuzz::kVcpus; ++n)
        fuzz::vcpu(board, n).board.read_apic_page(static_cast<u32>(offset), 4);
      space.mmio.read(0xfec0'0000 + offset, 4);
    }
  }
  for (unsigned n = 0; n < fuzz::kVcpus; ++n) fuzz::vcpu(board, n).board.acknowledge_interrupt();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
  static fuzz::Surroundings around;
  static const std::vector<SavedState> good = (*fuzz::make_board(around))->save();
  fuzz::Input input(data, size);
  std::vector<SavedState> states = good;
  while (!input.empty()) damage(states, input);

  const auto restored = fuzz::make_board(around, states);
  if (!restored) {
    if (restored.error().message.empty()) __builtin_trap();
    return 0;
  }
  Board& board = **restored;
  // Something to run wherever the vCPUs stand.
  fuzz::Noise noise(size);
  for (u64 at = 0; at < fuzz::kMemory; at += 8) guest_store(board.ram().host(GuestPhys(at)), noise.next());
  for (unsigned n = 0; n < fuzz::kVcpus; ++n) fuzz::Watchdog::instance().run(board, n, 200);
  exercise_devices(board);
  for (unsigned n = 0; n < fuzz::kVcpus; ++n) fuzz::Watchdog::instance().run(board, n, 200);
  const auto saved = board.save();
  VELLUM_ASSERT(fuzz::make_board(around, saved), "a running board's state is refused");
  return 0;
}
