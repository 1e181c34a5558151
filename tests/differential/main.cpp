// vellum-insn-fuzz: random instructions on the host CPU and on an engine, compared (docs/testing.md).
#include <fmt/format.h>
#include <time.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <filesystem>
#include <map>
#include <random>

#include "compare.hpp"
#include "engine_runner.hpp"
#include "generator.hpp"
#include "native_runner.hpp"
#include "reproducer.hpp"
#include "shrink.hpp"
#include "verdict.hpp"
#include "x86/exception.hpp"

namespace vellum::differential {
namespace {

struct Options {
  u64 seed = std::random_device{}();
  double seconds = 10;
  std::string engine = "interp";
  std::string mode = "any";
  std::string cases;     // a directory of reproducers to run first
  std::string write_to;  // a directory for new reproducers
  u64 max_reports = 20;
};

constexpr u64 kReportsEach = 2;  // of one mnemonic
constexpr int kSkipped = 77;     // as ctest is told

struct Tally {
  u64 run = 0, mismatched = 0, known = 0, faulted = 0, reported = 0, taken_back = 0, not_judged = 0;
  std::map<std::string, u64> by_mnemonic;
};

std::string mnemonic_of(const Case& c) {
  x86::Decoded d;
  return decode_case(c, d) == x86::DecodeStatus::kOk ? ZydisMnemonicGetString(d.info.mnemonic)
                                                     : "(undecodable)";
}

// Processor time of this process, in seconds.
double own_seconds() {
  timespec time{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

// Runs one batch on both sides and reports mismatches, shrunk, the first few of each mnemonic.
Result<> run_batch(std::unique_ptr<NativeRunner>& native, EngineRunner& engine, std::span<const Case> cases,
                   const Options& options, Tally& tally) {
  static std::vector<Outcome> outcomes(kBatch);
  VELLUM_TRY(native->run(cases, outcomes));
  for (std::size_t i = 0; i < cases.size(); ++i) {
    Outcome by_engine;
    engine.run(cases[i], by_engine);
    ++tally.run;
    if (outcomes[i].vector != kNoFault) ++tally.faulted;
    auto differences = compare(cases[i], outcomes[i], by_engine);
    if (differences.empty()) continue;
    if (known_difference(cases[i], outcomes[i], by_engine)) {
      ++tally.known;
      continue;
    }
    if (by_engine.vector == x86::kPf && native->is_own_memory(by_engine.cr2)) {
      ++tally.not_judged;
      fmt::print("not judged, as it meets the rig's own memory: {}", report(cases[i], differences));
      VELLUM_TRY_ASSIGN(undamaged, NativeRunner::create());
      native = std::move(undamaged);
      continue;
    }
    u64& seen = tally.by_mnemonic[mnemonic_of(cases[i])];
    if (seen >= kReportsEach || tally.reported >= options.max_reports) {
      ++seen, ++tally.mismatched;  // as those before
      continue;
    }
    VELLUM_TRY_ASSIGN(finding, examine(cases, i, outcomes[i], by_engine, *native, engine));
    if (finding.verdict == Verdict::kProcessorTookItBack) {
      ++tally.taken_back;
    } else {
      ++seen, ++tally.mismatched, ++tally.reported;
    }
    Case small = cases[i];
    if (finding.verdict == Verdict::kMismatch) {
      small = shrink(cases[i], *native, engine);
      Outcome n, e;
      VELLUM_TRY(native->run({&small, 1}, {&n, 1}));
      engine.run(small, e);
      finding.differences = compare(small, n, e);
    }
    fmt::print("{}: {}", text_of(finding.verdict), report(small, finding.differences));
    if (!options.write_to.empty()) {
      const auto path = fmt::format("{}/{}-{:08x}.case", options.write_to, mnemonic_of(small),
                                    small.data_seed & 0xffffffff);
      VELLUM_TRY(write_reproducer(path, small));
      fmt::print("  reproducer: {}\n", path);
    }
    std::fflush(stdout);
  }
  return {};
}

// What the host cannot try is said, and left out.
Result<bool> adapt(const HostLimits& limits, const Options& options, Generator::Options& generated) {
  if (options.mode != "any") generated.compat_percent = options.mode == "32" ? 100 : 0;
  if (limits.only_canonical_rsp) {
    fmt::print("this host does not return from a signal to a non-canonical RSP: no such stack pointers\n");
    generated.only_canonical_rsp = true;
  }
  if (!limits.no_compat || options.mode == "64") return true;
  fmt::print("this host runs no 32-bit code: no compatibility-mode cases\n");
  generated.compat_percent = 0;
  return options.mode != "32";
}

Result<int> run(const Options& options) {
  VELLUM_TRY_ASSIGN(native, NativeRunner::create());
  VELLUM_TRY_ASSIGN(engine, EngineRunner::create(options.engine));
  VELLUM_TRY_ASSIGN(limits, native->probe());
  Generator::Options generated;
  VELLUM_TRY_ASSIGN(possible, adapt(limits, options, generated));
  if (!possible) return kSkipped;
  Tally tally;
  if (!options.cases.empty()) {
    std::vector<Case> known;
    for (const auto& entry : std::filesystem::directory_iterator(options.cases)) {
      if (entry.path().extension() != ".case") continue;
      VELLUM_TRY_ASSIGN(c, read_reproducer(entry.path()));
      const bool wanted = options.mode == "any" || c.compat == (options.mode == "32");
      if (wanted && !(c.compat && limits.no_compat)) known.push_back(c);
    }
    for (const Case& c : known) VELLUM_TRY(run_batch(native, *engine, {&c, 1}, options, tally));
    fmt::print("{} reproducers run, {} mismatched\n", tally.run, tally.mismatched);
  }
  fmt::print("seed {}\n", options.seed);
  std::fflush(stdout);
  Generator generator(options.seed, generated);
  const auto start = std::chrono::steady_clock::now();
  const auto elapsed = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  const double busy_before = native->seconds() + own_seconds();
  std::vector<Case> batch(kBatch);
  const u64 before = tally.run;
  while (elapsed() < options.seconds) {
    for (Case& c : batch) c = generator.next();
    VELLUM_TRY(run_batch(native, *engine, batch, options, tally));
  }
  const double busy = native->seconds() + own_seconds() - busy_before;
  fmt::print(
      "{} cases in {:.1f} s ({:.0f} a second of processor time), {} of them faulted on the processor, "
      "{} mismatched, {} taken back by the processor, {} not judged\n",
      tally.run, elapsed(), static_cast<double>(tally.run - before) / std::max(busy, 0.001), tally.faulted,
      tally.mismatched, tally.taken_back, tally.not_judged);
  for (const auto& [name, count] : tally.by_mnemonic) fmt::print("  {:>8} {}\n", count, name);
  return tally.mismatched == 0 ? 0 : 1;
}

}  // namespace
}  // namespace vellum::differential

int main(int argc, char** argv) {
  vellum::differential::Options options;
  CLI::App app{"Runs random instructions on the host CPU and on an engine, and compares what came of them."};
  app.add_option("--seed", options.seed, "random seed (default: a fresh one, printed)")
      ->envname("VELLUM_SEED");
  app.add_option("--seconds", options.seconds, "how long to run")->capture_default_str();
  app.add_option("--engine", options.engine, "the engine to judge")->capture_default_str();
  app.add_option("--mode", options.mode,
                 "64, 32 (compatibility mode; status 77 where the host has none), or any")
      ->check(CLI::IsMember({"any", "64", "32"}))
      ->capture_default_str();
  app.add_option("--cases", options.cases, "run the reproducers of this directory first");
  app.add_option("--write", options.write_to,
                 "write a reproducer of each reported mismatch to this directory");
  app.add_option("--reports", options.max_reports, "how many mismatches to print")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  const auto status = vellum::differential::run(options);
  if (status) return *status;
  fmt::print(stderr, "vellum-insn-fuzz: {}\n", status.error().message);
  return 2;
}
