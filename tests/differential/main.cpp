// vellum-insn-fuzz: random instructions on the host CPU and on an engine, compared (docs/testing.md).
#include <fmt/format.h>

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

namespace vellum::differential {
namespace {

struct Options {
  u64 seed = std::random_device{}();
  double seconds = 10;
  std::string engine = "interp";
  std::string cases;     // a directory of reproducers to run first
  std::string write_to;  // a directory for new reproducers
  u64 max_reports = 20;
};

struct Tally {
  u64 run = 0, mismatched = 0, known = 0, faulted = 0, reported = 0;
  std::map<std::string, u64> by_mnemonic;
};

std::string mnemonic_of(const Case& c) {
  x86::Decoded d;
  return decode_case(c, d) == x86::DecodeStatus::kOk ? ZydisMnemonicGetString(d.info.mnemonic)
                                                     : "(undecodable)";
}

// Runs one batch on both sides and reports mismatches, shrunk, the first few of each mnemonic.
Result<> run_batch(NativeRunner& native, EngineRunner& engine, std::span<const Case> cases,
                   const Options& options, Tally& tally) {
  static std::vector<Outcome> outcomes(NativeRunner::kBatch);
  VELLUM_TRY(native.run(cases, outcomes));
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
    ++tally.mismatched;
    u64& seen = tally.by_mnemonic[mnemonic_of(cases[i])];
    if (++seen > 2 || tally.reported >= options.max_reports) continue;
    ++tally.reported;
    const Case small = shrink(cases[i], native, engine);
    Outcome n;
    VELLUM_TRY(native.run({&small, 1}, {&n, 1}));
    Outcome e;
    engine.run(small, e);
    fmt::print("{}", report(small, compare(small, n, e)));
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

Result<bool> run(const Options& options) {
  VELLUM_TRY_ASSIGN(native, NativeRunner::create());
  VELLUM_TRY_ASSIGN(engine, EngineRunner::create(options.engine));
  Tally tally;
  if (!options.cases.empty()) {
    std::vector<Case> known;
    for (const auto& entry : std::filesystem::directory_iterator(options.cases)) {
      if (entry.path().extension() != ".case") continue;
      VELLUM_TRY_ASSIGN(c, read_reproducer(entry.path()));
      known.push_back(c);
    }
    for (const Case& c : known) VELLUM_TRY(run_batch(*native, *engine, {&c, 1}, options, tally));
    fmt::print("{} reproducers run, {} mismatched\n", tally.run, tally.mismatched);
  }
  fmt::print("seed {}\n", options.seed);
  std::fflush(stdout);
  Generator generator(options.seed);
  const auto start = std::chrono::steady_clock::now();
  const auto elapsed = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  std::vector<Case> batch(NativeRunner::kBatch);
  const u64 before = tally.run;
  while (elapsed() < options.seconds) {
    for (Case& c : batch) c = generator.next();
    VELLUM_TRY(run_batch(*native, *engine, batch, options, tally));
  }
  const double seconds = elapsed();
  fmt::print("{} cases in {:.1f} s ({:.0f} a second), {} of them faulted on the processor, {} mismatched\n",
             tally.run, seconds, static_cast<double>(tally.run - before) / std::max(seconds, 0.001),
             tally.faulted, tally.mismatched);
  for (const auto& [name, count] : tally.by_mnemonic) fmt::print("  {:>8} {}\n", count, name);
  return tally.mismatched == 0;
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
  app.add_option("--cases", options.cases, "run the reproducers of this directory first");
  app.add_option("--write", options.write_to,
                 "write a reproducer of each reported mismatch to this directory");
  app.add_option("--reports", options.max_reports, "how many mismatches to print")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  const auto clean = vellum::differential::run(options);
  if (!clean) {
    fmt::print(stderr, "vellum-insn-fuzz: {}\n", clean.error().message);
    return 2;
  }
  return *clean ? 0 : 1;
}
