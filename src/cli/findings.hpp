// What `vellum doctor` finds: one row for each thing that a host offers or lacks, and how rows are shown.
#pragma once

#include <span>
#include <string>

namespace vellum::cli {

struct Finding {
  enum class State {
    kGood,
    kLacking,  ///< something is slower or missing without it
    kFatal,    ///< Vellum cannot run
  };
  std::string name;
  State state = State::kGood;
  std::string detail;  ///< what was seen
  std::string advice;  ///< what to do about it; empty if nothing
};

bool can_run(std::span<const Finding> findings);
std::string as_text(std::span<const Finding> findings);
std::string as_json(std::span<const Finding> findings);

}  // namespace vellum::cli
