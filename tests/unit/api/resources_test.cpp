#include "api/resources.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "../temp_dir.hpp"
#include "devices/virtio/balloon.hpp"

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

  /// How many of this process's descriptors are that file's.
  static long open_by_us(const std::string& path) {
    namespace fs = std::filesystem;
    std::error_code error;
    return std::ranges::count_if(
        fs::directory_iterator("/proc/self/fd"),
        [&](const fs::directory_entry& entry) { return fs::read_symlink(entry.path(), error) == path; });
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

TEST_F(ResourcesTest, TheBalloon) {
  config.balloon = BalloonConfig{4 << 20};
  make();
  EXPECT_EQ(nlohmann::json::parse(ask("GET", "/v1/balloon").body),
            nlohmann::json::parse(R"({"target": 4194304, "actual": 0, "statistics": {}})"));
  const Response put = ask("PUT", "/v1/balloon", "", R"({"target": 8388608})");
  EXPECT_EQ(put.status, 200u);
  EXPECT_EQ(nlohmann::json::parse(put.body)["target"], 8 << 20);
  EXPECT_EQ(machine->balloon()->report().target, 2048u);
  EXPECT_EQ(machine->config().balloon->size, u64{8} << 20);  // and so after a reset
}

TEST_F(ResourcesTest, ABalloonTakesSizesThatItCanHave) {
  config.balloon = BalloonConfig{4 << 20};
  make();
  for (const char* const body :
       {"", "8388608", "{}", "[]", R"({"target": -1})", R"({"target": 4096.0})", R"({"target": "4096"})",
        R"({"target": 99999999999999999999})", R"({"target": 4096, "more": 1})", R"({"target": 4096)"})
    EXPECT_EQ(ask("PUT", "/v1/balloon", "", body).body,
              "{\"error\":\"the body is to be {\\\"target\\\": N}, a whole number of bytes\"}\n")
        << body;
  const Response all = ask("PUT", "/v1/balloon", "", R"({"target": 16777216})");
  EXPECT_EQ(all.status, 400u);
  EXPECT_NE(all.body.find("16 MiB leaves nothing of the guest's 16 MiB"), std::string::npos);
  EXPECT_NE(ask("PUT", "/v1/balloon", "", R"({"target": 4095})").body.find("not a multiple"),
            std::string::npos);
  EXPECT_EQ(machine->balloon()->report().target, 1024u);
}

TEST_F(ResourcesTest, NoBalloonNoSize) {
  make();
  EXPECT_EQ(ask("GET", "/v1/balloon").status, 404u);
  EXPECT_EQ(ask("PUT", "/v1/balloon", "", R"({"target": 0})").status, 404u);
  EXPECT_EQ(ask("DELETE", "/v1/balloon").allow, "GET, PUT");
}

TEST_F(ResourcesTest, ADrivesMedium) {
  const std::string first = dir.write("first", std::vector<u8>(4096, 1)),
                    second = dir.write("second", std::vector<u8>(8192, 2));
  config.cdroms = {"", first};
  make();
  EXPECT_EQ(ask("GET", "/v1/cdroms/0").body, "{\"file\":null,\"locked\":false,\"open\":false}\n");
  EXPECT_EQ(ask("GET", "/v1/cdroms/1").body,
            "{\"file\":\"" + first + "\",\"locked\":false,\"open\":false}\n");
  const Response put = ask("PUT", "/v1/cdroms/0", "", "{\"file\":\"" + second + "\"}");
  EXPECT_EQ(put.status, 200u);
  EXPECT_EQ(nlohmann::json::parse(put.body)["file"], second);
  EXPECT_EQ(ask("PUT", "/v1/cdroms/1", "", R"({"file":null,"force":true})").status, 200u);
  EXPECT_EQ(machine->config().cdroms, (std::vector<std::string>{second, ""}));  // and so after a reset
}

TEST_F(ResourcesTest, AMediumIsLetGo) {
  const std::string first = dir.write("first", std::vector<u8>(4096, 1));
  config.cdroms = {first};
  make();
  EXPECT_EQ(open_by_us(first), 1);
  ask("PUT", "/v1/cdroms/0", "", R"({"file":null})");
  EXPECT_EQ(open_by_us(first), 0);
}

TEST_F(ResourcesTest, AMediumThatCannotBeLeavesTheOldOne) {
  const std::string first = dir.write("first", std::vector<u8>(4096, 1));
  config.cdroms = {first};
  make();
  for (const char* const body :
       {"", "{}", "null", "[]", R"({"file": 1})", R"({"file": ""})", R"({"file": "relative"})",
        R"({"file": null, "more": 1})", R"({"file": null, "force": 1})", R"({"force": true})",
        R"({"file": "/a\u0000b"})"})
    EXPECT_EQ(ask("PUT", "/v1/cdroms/0", "", body).status, 400u) << body;
  const Response missing = ask("PUT", "/v1/cdroms/0", "", "{\"file\":\"" + dir.path("none") + "\"}");
  EXPECT_EQ(missing.status, 400u);
  EXPECT_NE(missing.body.find("No such file"), std::string::npos) << missing.body;
  const std::string small = dir.write("small", std::vector<u8>(512, 1));
  EXPECT_NE(
      ask("PUT", "/v1/cdroms/0", "", "{\"file\":\"" + small + "\"}").body.find("no sector of 2048 bytes"),
      std::string::npos);
  EXPECT_EQ(machine->config().cdroms.front(), first);
  EXPECT_EQ(open_by_us(first), 1);
  EXPECT_EQ(open_by_us(small), 0);
  for (const char* const target : {"/v1/cdroms/1", "/v1/cdroms/9"})
    EXPECT_NE(ask("PUT", target, "", R"({"file": null})").body.find("no CD-ROM drive"), std::string::npos);
  for (const char* const target : {"/v1/cdroms/", "/v1/cdroms/00", "/v1/cdroms/x", "/v1/cdroms"})
    EXPECT_NE(ask("GET", target).body.find("no such resource"), std::string::npos) << target;
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
