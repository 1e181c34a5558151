#include "base/log.hpp"

#include <spdlog/sinks/stdout_sinks.h>

namespace vellum {

void init_logging(spdlog::level::level_enum level) {
  auto logger = std::make_shared<spdlog::logger>("vellum", std::make_shared<spdlog::sinks::stderr_sink_mt>());
  logger->set_pattern("vellum: %l: %v");
  logger->set_level(level);
  spdlog::set_default_logger(std::move(logger));
}

}  // namespace vellum
