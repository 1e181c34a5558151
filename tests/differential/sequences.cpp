// vellum-sequence-fuzz: random sequences of instructions on the translator, in units as long as they come,
// against the interpreter, which the host's processor judges one instruction at a time (docs/testing.md).
//
// What an engine keeps to itself from one instruction to the next is what is tested: flags not yet computed,
// vector and x87 state in the host's registers, pointers of x87. So everything must be equal, also what the
// SDM leaves undefined.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstring>

#include "compare.hpp"
#include "engine_runner.hpp"
#include "generator.hpp"

namespace vellum::differential {
namespace {

struct Options {
  u64 seed = std::random_device{}();
  double seconds = 10;
  unsigned longest = 24;
  std::string engine = "bt";
};

using Code = std::vector<Case>;  // of each, its bytes; of the first, the registers and memory

std::vector<u8> bytes_of(const Code& code) {
  std::vector<u8> bytes;
  for (const Case& c : code) bytes.insert(bytes.end(), c.code.begin(), c.code.begin() + c.length);
  return bytes;
}

struct Run {
  Outcome outcome;
  u64 retired = 0;
};

// To the INT3 behind the sequence (#GP at it, as its gate is not for user mode), or to the first fault.
Run run(EngineRunner& engine, const Code& code) {
  Run r;
  const u64 before = engine.retired();
  engine.run(code.front(), bytes_of(code), 4 * code.size() + 40, r.outcome);
  r.retired = engine.retired() - before;
  return r;
}

std::vector<Difference> differences(const Code& code, const Run& expected, const Run& got) {
  auto out = compare(code.front(), expected.outcome, got.outcome);
  std::erase_if(out, [](const Difference& d) { return d.what == "fault"; });  // Linux's view of it
  const auto add = [&](const char* what, u64 a, u64 b) {
    if (a != b) out.push_back({what, fmt::format("{:x}", a), fmt::format("{:x}", b)});
  };
  add("fault", expected.outcome.vector, got.outcome.vector);
  add("error code", expected.outcome.error_code, got.outcome.error_code);
  add("cr2", expected.outcome.cr2, got.outcome.cr2);
  add("retired", expected.retired, got.retired);
  add("all flags", expected.outcome.out.rflags, got.outcome.out.rflags);
  auto& e = const_cast<XsaveArea&>(expected.outcome.out.fp);
  auto& g = const_cast<XsaveArea&>(got.outcome.out.fp);
  add("fip", e.fip(), g.fip());
  add("fdp", e.fdp(), g.fdp());
  add("fop", e.fop(), g.fop());
  if (out.empty() && !(e == g)) out.push_back({"the rest of the XSAVE area", "", ""});
  return out;
}

// Of general registers and flags only.
bool is_integer(const x86::Decoded& d) {
  switch (d.info.meta.isa_ext) {
    case ZYDIS_ISA_EXT_BASE:
    case ZYDIS_ISA_EXT_LONGMODE:
    case ZYDIS_ISA_EXT_BMI1:
    case ZYDIS_ISA_EXT_BMI2:
    case ZYDIS_ISA_EXT_ADOX_ADCX:
    case ZYDIS_ISA_EXT_LZCNT:
    case ZYDIS_ISA_EXT_MOVBE:
      return true;
    default:
      return false;
  }
}

class Fuzzer {
 public:
  Fuzzer(EngineRunner& reference, EngineRunner& judged, const Options& options)
      : reference_(reference),
        judged_(judged),
        options_(options),
        generator_(options.seed),
        random_(~options.seed) {}

  // Random instructions, either of general registers or mostly of vectors and x87, of which those that fault
  // are mostly left out.
  Code sequence() {
    Code code;
    const std::size_t length = 2 + below(options_.longest - 1);
    const bool integers = below(2) == 0;  // the flags' sequences; else mostly vectors and x87
    const bool compat = below(4) == 0;
    while (code.size() < length) {
      const Case c = generator_.next();
      x86::Decoded decoded;
      if (c.compat != compat || decode_case(c, decoded) != x86::DecodeStatus::kOk) continue;
      if (decoded.info.meta.branch_type != ZYDIS_BRANCH_TYPE_NONE) continue;
      if (is_integer(decoded) ? !integers && below(100) < 70 : integers) continue;
      code.push_back(c);
      if (code.size() == 1) code.front().in.rip = kCode + 256 + below(2048);
      const bool faults =
          run(reference_, code).outcome.out.rip != code.front().in.rip + bytes_of(code).size();
      if (faults && below(100) < 95) code.pop_back();
    }
    return code;
  }

  bool matches(const Code& code) {
    return differences(code, run(reference_, code), run(judged_, code)).empty();
  }

  void report(Code code) {
    // Without each instruction that is not needed for the difference.
    for (std::size_t n = code.size(); n-- > 1;) {
      Code shorter = code;
      shorter.erase(shorter.begin() + static_cast<std::ptrdiff_t>(n));
      if (!matches(shorter)) code = shorter;
    }
    u64 address = code.front().in.rip;
    for (const Case& c : code) {
      x86::Decoded decoded;
      decode_case(c, decoded);
      fmt::print("  {:x}  {}\n", address, x86::format_instruction(decoded, address));
      address += c.length;
    }
    fmt::print("{}", vellum::differential::report(
                         code.front(), differences(code, run(reference_, code), run(judged_, code))));
    std::fflush(stdout);
  }

  bool run_all() {
    fmt::print("seed {}\n", options_.seed);
    std::fflush(stdout);
    const auto start = std::chrono::steady_clock::now();
    u64 sequences = 0, instructions = 0, mismatched = 0;
    while (std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() <
           options_.seconds) {
      const Code code = sequence();
      ++sequences;
      instructions += code.size();
      if (matches(code)) continue;
      if (++mismatched <= 10) report(code);
    }
    fmt::print("{} sequences, {} instructions, {} mismatched\n", sequences, instructions, mismatched);
    return mismatched == 0;
  }

 private:
  std::size_t below(std::size_t n) { return random_() % n; }

  EngineRunner& reference_;
  EngineRunner& judged_;
  const Options& options_;
  Generator generator_;
  std::mt19937_64 random_;
};

Result<bool> fuzz(const Options& options) {
  VELLUM_TRY_ASSIGN(reference, EngineRunner::create("interp"));
  VELLUM_TRY_ASSIGN(judged, EngineRunner::create(options.engine, 32));
  return Fuzzer(*reference, *judged, options).run_all();
}

}  // namespace
}  // namespace vellum::differential

int main(int argc, char** argv) {
  vellum::differential::Options options;
  CLI::App app{"Runs random sequences of instructions on the translator and on the interpreter."};
  app.add_option("--seed", options.seed, "random seed (default: a fresh one, printed)")
      ->envname("VELLUM_SEED");
  app.add_option("--seconds", options.seconds, "how long to run")->capture_default_str();
  app.add_option("--engine", options.engine, "bt, or bt-flat: with flat tables")->capture_default_str();
  app.add_option("--longest", options.longest, "the most instructions of a sequence")
      ->check(CLI::Range(2, 30))
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  const auto clean = vellum::differential::fuzz(options);
  if (!clean) {
    fmt::print(stderr, "vellum-sequence-fuzz: {}\n", clean.error().message);
    return clean.error().code == vellum::ErrorCode::kUnsupported ? 77 : 2;  // 77: ctest counts it as skipped
  }
  return *clean ? 0 : 1;
}
