#include "machine/divergence.hpp"

#include <algorithm>
#include <cstring>

#include "cpu/bare_board.hpp"
#include "cpu/mmu/mmu.hpp"
#include "machine/state_diff.hpp"
#include "machine/twin.hpp"
#include "x86/decode.hpp"

namespace vellum {
namespace {

constexpr u64 kRamEvery = 64;  // comparisons between two of all RAM

VcpuState state_of(Twin& twin, unsigned vcpu) {
  VcpuState state;
  twin.board().vcpus()[vcpu]->engine->pull(StateMask::kAll, state);
  return state;
}

// The instruction that a vCPU is about to run.
std::string describe_next(Twin& twin, unsigned vcpu) {
  VcpuState state = state_of(twin, vcpu);
  BareBoard board;
  Bus none{"none"};
  AddressSpace space{twin.board().ram(), none, none};
  x86::Exception fault;
  Mmu mmu(space, board, state, fault);
  mmu.update_context();
  const u64 linear = (state.mode_64() ? 0 : state.segment(x86::Seg::kCs).base) + state.rip;
  std::array<u8, x86::kMaxInstructionLength> bytes{};
  unsigned have = 0;
  for (GuestPhys at; have < bytes.size() && mmu.translate_quietly(linear + have, at); ++have) {
    const u8* host = space.ram.host(at);
    if (host == nullptr) break;
    bytes[have] = guest_load<u8>(host);
  }
  const auto mode = state.mode_64()                             ? x86::CodeMode::kLong64
                    : state.real_mode() || state.virtual_8086() ? x86::CodeMode::kReal16
                    : state.segment(x86::Seg::kCs).big()        ? x86::CodeMode::kProtected32
                                                                : x86::CodeMode::kProtected16;
  x86::Decoded decoded;
  if (x86::decode(mode, std::span(bytes).first(have), decoded) != x86::DecodeStatus::kOk)
    return fmt::format("{:#x}: (no instruction can be read there)", linear);
  std::string text = fmt::format("{:#x}: ", linear);
  for (unsigned i = 0; i < decoded.length(); ++i) text += fmt::format("{:02x} ", bytes[i]);
  return text + " " + x86::format_instruction(decoded, linear);
}

std::vector<std::string> compare_states(Twin& a, Twin& b) {
  std::vector<std::string> out;
  for (unsigned n = 0; n < a.board().vcpus().size(); ++n) {
    for (auto& line : describe_differences(state_of(a, n), state_of(b, n)))
      out.push_back(fmt::format("vcpu{} {}", n, line));
  }
  const auto parts_a = a.board().save();
  const auto parts_b = b.board().save();
  for (std::size_t i = 0; i < std::min(parts_a.size(), parts_b.size()); ++i) {
    if (parts_a[i].bytes != parts_b[i].bytes && parts_a[i].kind != VcpuState::kKind)
      out.push_back(fmt::format("device {}", parts_a[i].kind));
  }
  if (a.output() != b.output()) out.push_back("console output");
  if (a.position() != b.position())
    out.push_back(fmt::format("instructions retired: A {}  B {}", a.position(), b.position()));
  if (a.outcome().has_value() != b.outcome().has_value() ||
      (a.outcome() && (a.outcome()->kind != b.outcome()->kind || a.outcome()->code != b.outcome()->code)))
    out.push_back("only one has ended, or they ended in different ways");
  return out;
}

void compare_ram(Twin& a, Twin& b, std::vector<std::string>& out) {
  for (const GuestPhysRange& range : a.board().ram().ranges()) {
    for (u64 offset = 0; offset < range.size; offset += kPageSize) {
      const GuestPhys page = range.start + offset;
      const u8* const in_a = a.board().ram().host(page);
      const u8* const in_b = b.board().ram().host(page);
      if (in_a == nullptr && in_b == nullptr) continue;  // the bus
      if (in_a != nullptr && in_b != nullptr && std::memcmp(in_a, in_b, kPageSize) == 0) continue;
      out.push_back(fmt::format("RAM page at guest-physical {:#x}", page.value));
      return;
    }
  }
}

struct Pair {
  std::unique_ptr<Twin> a, b;
  bool injected = false;

  static Result<Pair> create(const LockstepRequest& request) {
    MachineConfig config = request.machine;
    config.engine = request.engine_a;
    VELLUM_TRY_ASSIGN(first, Twin::create(config));
    config.engine = request.engine_b;
    VELLUM_TRY_ASSIGN(second, Twin::create(config));
    return Pair{std::move(first), std::move(second)};
  }

  void run_to(u64 target, const LockstepRequest& request) {
    a->run_to(target);
    if (request.inject_at && !injected && *request.inject_at < target) {
      b->run_to(*request.inject_at);
      Engine& engine = *b->board().vcpus().front()->engine;
      VcpuState state;
      engine.pull(StateMask::kGeneral, state);
      state.gpr[x86::kRbx] ^= 1;
      engine.push(StateMask::kGeneral, state);
      injected = true;
    }
    b->run_to(target);
  }
  bool ended() const { return a->outcome() && b->outcome(); }
};

// The two were equal at `equal_at` and were found to differ at `differ_at`: runs afresh to the first, then
// one instruction at a time.
Result<Divergence> bisect(const LockstepRequest& request, u64 equal_at, u64 differ_at,
                          std::vector<std::string> found) {
  VELLUM_TRY_ASSIGN(pair, Pair::create(request));
  pair.run_to(equal_at, request);
  Divergence d;
  for (u64 position = equal_at; position < differ_at && !pair.ended(); ++position) {
    d.position = position;
    d.vcpu = pair.a->turn();
    d.instruction = describe_next(*pair.a, d.vcpu);
    pair.run_to(position + 1, request);
    d.differences = compare_states(*pair.a, *pair.b);
    if (!d.differences.empty()) return d;
  }
  // Only RAM differs so far: the instruction is somewhere in the interval.
  d.position = equal_at;
  d.instruction =
      fmt::format("between positions {} and {}: registers and devices are still equal", equal_at, differ_at);
  d.differences = std::move(found);
  return d;
}

}  // namespace

Result<LockstepResult> run_lockstep(const LockstepRequest& request,
                                    const std::function<void(u64)>& progress) {
  VELLUM_TRY_ASSIGN(pair, Pair::create(request));
  LockstepResult result;
  u64 equal_at = 0;
  while (!pair.ended() && equal_at < request.limit) {
    const u64 target = equal_at + std::min(request.interval, request.limit - equal_at);
    pair.run_to(target, request);
    ++result.comparisons;
    auto differences = compare_states(*pair.a, *pair.b);
    const bool last = pair.ended() || target == request.limit;
    if (differences.empty() && (last || result.comparisons % kRamEvery == 0))
      compare_ram(*pair.a, *pair.b, differences);
    if (!differences.empty()) {
      pair = Pair{};  // two boards at a time are enough
      VELLUM_TRY_ASSIGN(divergence, bisect(request, equal_at, target, std::move(differences)));
      result.divergence = std::move(divergence);
      break;
    }
    equal_at = target;
    if (progress) progress(equal_at);
  }
  if (pair.a) {
    result.instructions = pair.a->position();
    result.outcome = pair.a->outcome();
  } else {
    result.instructions = equal_at;
  }
  return result;
}

}  // namespace vellum
