#include "api/resources.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "../temp_dir.hpp"

namespace vellum::api {
namespace {

class ResourcesTest : public ::testing::Test {
 protected:
  ResourcesTest() {
    config.bios = dir.write("bios", std::vector<u8>(64 << 10, 0xf4));
    config.memory = 16 << 20;
    config.engine = "interp";
    config.cpus = 2;
    config.screenshot = dir.path("screen.png");
  }
  void make() {
    loop = std::move(*EventLoop::create());
    auto created = Machine::create(config, *loop, {});
    ASSERT_TRUE(created) << created.error().message;
    machine = std::move(*created);
  }
  Response ask(const std::string& method, const std::string& target, const std::string& accept = "",
               const std::string& body = "") {
    return answer(*machine, {method, target, accept, body})();
  }
  std::string file(const std::string& name) {
    std::ifstream in(dir.path(name), std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  test::TempDir dir;
  MachineConfig config;
  std::unique_ptr<EventLoop> loop;
  std::unique_ptr<Machine> machine;
};

TEST_F(ResourcesTest, TheMachine) {
  make();
  const Response response = ask("GET", "/v1/machine");
  EXPECT_EQ(response.status, 200u);
  EXPECT_EQ(response.type, kJson);
  EXPECT_EQ(nlohmann::json::parse(response.body), nlohmann::json::parse(R"({"state": "running",
    "engine": "interp", "cpus": 2, "memory": 16777216, "board": "pc", "clock": "real"})"));
}

TEST_F(ResourcesTest, TheScreenIsTheOneOfTheEnd) {
  make();
  const Response response = ask("GET", "/v1/screen");
  ASSERT_TRUE(machine->write_screenshot());
  EXPECT_EQ(response.status, 200u);
  EXPECT_EQ(response.type, kPng);
  EXPECT_EQ(response.body.substr(1, 3), "PNG");
  EXPECT_EQ(response.body, file("screen.png"));
}

TEST_F(ResourcesTest, TheScreenHasTwoTypes) {
  make();
  EXPECT_EQ(ask("GET", "/v1/screen", "text/plain").type, kText);
  EXPECT_EQ(ask("GET", "/v1/screen", "text/html, text/*;q=0.5, */*").type, kText);
  EXPECT_EQ(ask("GET", "/v1/screen", "*/*").type, kPng);
  EXPECT_EQ(ask("GET", "/v1/screen", "image/gif").status, 406u);
}

TEST_F(ResourcesTest, NoDisplayNoScreen) {
  config.display = DisplayKind::kNone;
  config.screenshot.clear();
  make();
  const Response response = ask("GET", "/v1/screen");
  EXPECT_EQ(response.status, 404u);
  EXPECT_EQ(response.body, "{\"error\":\"this machine has no display; start it with --vga std\"}\n");
}

TEST_F(ResourcesTest, WhatThereIsNot) {
  make();
  EXPECT_EQ(ask("GET", "/v1/toaster").status, 404u);
  EXPECT_EQ(ask("GET", "/").status, 404u);
  const Response put = ask("PUT", "/v1/screen");
  EXPECT_EQ(put.status, 405u);
  EXPECT_EQ(put.allow, "GET");
  const Response odd = ask("GET", "/\xff\n");
  EXPECT_EQ(odd.status, 404u);
  EXPECT_TRUE(nlohmann::json::accept(odd.body));
}

}  // namespace
}  // namespace vellum::api
