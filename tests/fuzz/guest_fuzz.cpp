// Runs arbitrary bytes as a guest's code in every mode (fuzz_guest.hpp) on a whole board, on the interpreter
// and on the translator. Nothing that a guest does may crash the monitor, break one of its assertions or
// reach memory that is not the guest's (guest RAM is surrounded by guard pages); and after every turn of
// every vCPU the two engines must agree on all registers, on RAM and on every device.
//
// The input: mode, privilege and the translator's options in one byte, a seed for tables and registers in
// two, then the code.
#include <fmt/ranges.h>

#include <array>

#include "fuzz_guest.hpp"
#include "fuzz_watchdog.hpp"
#include "machine/state_diff.hpp"

using namespace vellum;

namespace {

/// How many instructions each vCPU may retire in each turn: the last ones end within a translation unit.
constexpr std::array<u64, 5> kTurns{100, 100, 61, 1, 38};

MachineConfig translated(bool units) {
  MachineConfig config = fuzz::board_config();
  config.engine = "bt";
  config.bt = {.cache_bytes = 1 << 20, .threshold = 0, .chain = units, .unit = units ? 32u : 1u};
  return config;
}

VcpuState state_of(Board& board, unsigned index) {
  VcpuState s;
  board.vcpus()[index]->engine->pull(StateMask::kAll, s);
  return s;
}

void check_same(Board& interpreted, Board& translated, unsigned turn, unsigned index) {
  const VcpuState a = state_of(interpreted, index), b = state_of(translated, index);
  const auto differences = describe_differences(a, b);
  VELLUM_ASSERT(differences.empty(), "turn {}, vCPU {}: interp (A) and bt (B) differ\n{}", turn, index,
                fmt::join(differences, "\n"));
  const u8* ram_a = interpreted.ram().host(GuestPhys(0));
  const u8* ram_b = translated.ram().host(GuestPhys(0));
  if (std::memcmp(ram_a, ram_b, fuzz::kMemory) == 0) return;
  const auto at = std::mismatch(ram_a, ram_a + fuzz::kMemory, ram_b).first - ram_a;
  VELLUM_ASSERT(false, "turn {}, vCPU {}: RAM differs at {:#x}: interp {:#x}, bt {:#x}", turn, index, at,
                ram_a[at], ram_b[at]);
}

void check_same_devices(std::span<const SavedState> a, std::span<const SavedState> b) {
  VELLUM_ASSERT(a.size() == b.size(), "{} states, and {}", a.size(), b.size());
  for (std::size_t n = 0; n < a.size(); ++n)
    VELLUM_ASSERT(a[n].kind == b[n].kind && a[n].bytes == b[n].bytes, "'{}' differs between interp and bt",
                  a[n].kind);
}

/// Whether the code may ask for random numbers (RDRAND, RDSEED: 0F C7 /6, /7 with a register), which no two
/// runs share.
bool may_draw(std::span<const u8> code) {
  for (std::size_t n = 0; n + 2 < code.size(); ++n)
    if (code[n] == 0x0f && code[n + 1] == 0xc7 && code[n + 2] >= 0xf0) return true;
  return false;
}

/// A vCPU that had to be stopped by the clock stands wherever it was by then: from there on the engines are
/// still run, but no more compared.
class Pair {
 public:
  Pair(Board& interpreted, Board& translated, bool comparable)
      : interpreted_(interpreted), translated_(translated), comparable_(comparable) {}

  void run() {
    for (unsigned turn = 0; turn < kTurns.size(); ++turn) {
      for (unsigned n = 0; n < fuzz::kVcpus; ++n)
        if (!stuck_[n]) run_one(turn, n);
      fuzz::advance(interpreted_, 100'000);
      fuzz::advance(translated_, 100'000);
    }
    const auto saved = interpreted_.save();
    if (comparable_) check_same_devices(saved, translated_.save());
  }

 private:
  void run_one(unsigned turn, unsigned index) {
    stuck_[index] = !fuzz::Watchdog::instance().run(interpreted_, index, kTurns[turn]);
    comparable_ = comparable_ && !stuck_[index];
    if (comparable_) {
      // No watchdog: a translator that never ends where the interpreter does runs into libFuzzer's timeout.
      translated_.vcpus()[index]->run({kTurns[turn]});
      check_same(interpreted_, translated_, turn, index);
    } else {
      fuzz::Watchdog::instance().run(translated_, index, kTurns[turn]);
    }
  }

  Board& interpreted_;
  Board& translated_;
  std::array<bool, fuzz::kVcpus> stuck_{};
  bool comparable_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
  static fuzz::Surroundings around;
  if (size < 4) return 0;
  fuzz::Input input(data, size);
  const u8 first = input.take<u8>();
  const auto mode = static_cast<fuzz::Mode>(first & 7);
  const bool user = mode == fuzz::Mode::kVirtual8086 || ((first & 8) != 0 && mode != fuzz::Mode::kReal);
  const MachineConfig by_bt = translated((first & 16) == 0);
  const u64 seed = input.take<u16>();
  const auto code = input.take_bytes(4096);

  auto interpreted = *fuzz::make_board(around);
  auto translated = *Board::create(by_bt, around.resources);
  VELLUM_ASSERT(translated->start_like_firmware(), "no firmware for a board on bt");  // as make_board()
  fuzz::Guest guest(interpreted->ram(), mode, user ? 3 : 0, seed);
  guest.fill(code);
  guest_copy(translated->ram().host(GuestPhys(0)), interpreted->ram().host(GuestPhys(0)), fuzz::kMemory);
  for (unsigned n = 0; n < fuzz::kVcpus; ++n) {
    const VcpuState state = guest.state(n);
    interpreted->vcpus()[n]->engine->push(StateMask::kAll, state);
    translated->vcpus()[n]->engine->push(StateMask::kAll, state);
  }
  Pair(*interpreted, *translated, !may_draw(code)).run();
  // What ran can be saved, and what was saved restored.
  VELLUM_ASSERT(fuzz::make_board(around, interpreted->save()), "interp: a running board's state is refused");
  VELLUM_ASSERT(Board::create(by_bt, around.resources, translated->save()),
                "bt: a running board's state is refused");
  return 0;
}
