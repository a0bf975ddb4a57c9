// The parts of the node that stand alone: its log, its sockets, its preflight.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "node/config.h"
#include "node/log.h"
#include "node/preflight.h"
#include "node/sockets.h"

namespace slipway {
namespace {

std::uint64_t now_of_test = 0;

TEST(Log, LinesThatDifferInNumbersOnlyAreFolded) {
  now_of_test = 1'000;
  std::string lines;
  Log log([] { return now_of_test; });
  log.copy_to(&lines);
  for (int i = 0; i < 100; ++i) {
    log.warn(fmt::format("link {} refused", i));
  }
  log.warn("something else");
  EXPECT_EQ(std::ranges::count(lines, '\n'), Log::kRepeats + 1);
  EXPECT_EQ(log.folded(), 100 - Log::kRepeats);
  now_of_test += Log::kWindowMs;
  log.tick();
  EXPECT_NE(lines.find("(95 more lines like: link 99 refused)"), std::string::npos);
  lines.clear();
  log.warn("link 7 refused");
  EXPECT_EQ(lines, "link 7 refused\n");
  log.copy_to(nullptr);
}

TEST(Log, LevelsBelowTheSetOneAreNotWritten) {
  std::string lines;
  Log log([] { return now_of_test; });
  log.copy_to(&lines);
  log.set_level("error");
  EXPECT_EQ(log.level(), "error");
  log.warn("w");
  log.error("e");
  EXPECT_EQ(lines, "e\n");
  EXPECT_TRUE(Log::known_level("trace"));
  EXPECT_FALSE(Log::known_level("loud"));
  log.copy_to(nullptr);
}

class Sockets : public testing::Test {
 protected:
  void SetUp() override {
    folder = std::filesystem::temp_directory_path() / fmt::format("slipway-sockets-{}", getpid());
    std::filesystem::create_directory(folder);
  }
  void TearDown() override { std::filesystem::remove_all(folder); }
  SocketAddress unix_at(const std::string& name) { return {SocketKind::kUnix, {}, (folder / name).string()}; }
  std::filesystem::path folder;
};

TEST_F(Sockets, PortInUseIsToldWithTheWayOut) {
  auto address = *parse_socket_address("tcp://127.0.0.1:0");
  const auto first = open_listening(address, 0);
  ASSERT_TRUE(first);
  sockaddr_in bound{};
  socklen_t length = sizeof bound;
  getsockname(*first, reinterpret_cast<sockaddr*>(&bound), &length);
  address.ip.port = ntohs(bound.sin_port);
  const auto second = open_listening(address, 0);
  ASSERT_FALSE(second);
  EXPECT_NE(second.error().find("another program has it"), std::string::npos);
  EXPECT_NE(second.error().find(fmt::format("sport = :{}", address.ip.port)), std::string::npos);
  close(*first);
}

TEST_F(Sockets, AddressOfNobodyIsTold) {
  const auto fd = open_listening(*parse_socket_address("tcp://203.0.113.7:5"), 0);
  ASSERT_FALSE(fd);
  EXPECT_NE(fd.error().find("no interface has this address"), std::string::npos);
}

TEST_F(Sockets, FileOfADeadNodeIsReplacedThatOfALivingOneIsNot) {
  const auto address = unix_at("a.sock");
  const auto dead = open_listening(address, 0600);
  ASSERT_TRUE(dead);
  struct stat info {};
  ASSERT_EQ(stat(address.path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  const auto second = open_listening(address, 0600);
  ASSERT_FALSE(second);
  EXPECT_NE(second.error().find("a running program listens there"), std::string::npos);
  close(*dead);
  const auto third = open_listening(address, 0600);
  ASSERT_TRUE(third) << third.error();
  remove_socket_file(*third, address.path);
  EXPECT_FALSE(std::filesystem::exists(address.path));
  close(*third);
}

TEST_F(Sockets, OtherFilesAreLeftAlone) {
  const auto address = unix_at("precious");
  std::ofstream(address.path) << "data";
  const auto fd = open_listening(address, 0600);
  ASSERT_FALSE(fd);
  EXPECT_NE(fd.error().find("no socket"), std::string::npos);
  EXPECT_TRUE(std::filesystem::exists(address.path));
}

TEST_F(Sockets, MissingFolderIsMade) {
  const auto address = unix_at("new/a.sock");
  const auto fd = open_listening(address, 0600);
  ASSERT_TRUE(fd) << fd.error();
  close(*fd);
}

class Preflight : public Sockets {
 protected:
  void write(const std::string& path, const std::string& text) {
    const auto at = folder / path;
    std::filesystem::create_directories(at.parent_path());
    std::ofstream(at) << text;
  }
  Check find(const std::vector<Check>& checks, const std::string& name) {
    const auto at = std::ranges::find(checks, name, &Check::name);
    EXPECT_NE(at, checks.end()) << name;
    return at == checks.end() ? Check{} : *at;
  }
};

TEST_F(Preflight, NamesWhatIsMissingAndTheCommandThatRepairsIt) {
  write("proc/mounts", "none / ext4 rw 0 0\n");
  write("proc/self/cgroup", "0::/svc\n");
  write("sys/fs/cgroup/svc/memory.max", "67108864\n");
  write("sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "4\n");
  write("sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "1\n");
  write("sys/bus/pci/devices/0000:03:00.0/vendor", "0x8086\n");
  std::filesystem::create_directory_symlink("../drivers/e1000e", folder / "sys/bus/pci/devices/0000:03:00.0/driver");
  auto settings = *parse_config("slipway: {workers: [{kind: poll, cpu: 900}], listen: [], ports: [{device: '0000:03:00.0'}, {device: '0000:04:00.0'}]}", "t");
  const auto checks = preflight(settings, folder.string());
  EXPECT_EQ(find(checks, "io_uring").result, CheckResult::kGood);
  const auto pages = find(checks, "huge_pages");
  EXPECT_EQ(pages.result, CheckResult::kNotice);
  EXPECT_NE(pages.repair.find("sysctl -w vm.nr_hugepages="), std::string::npos);
  EXPECT_EQ(find(checks, "cgroup_memory").result, CheckResult::kNotice);
  EXPECT_EQ(find(checks, "cpus").result, CheckResult::kBad);
  EXPECT_EQ(find(checks, "iommu").result, CheckResult::kNotice);
  const auto bound = find(checks, "port p0");
  EXPECT_EQ(bound.result, CheckResult::kBad);
  EXPECT_NE(bound.found.find("e1000e"), std::string::npos);
  EXPECT_NE(bound.repair.find("dpdk-devbind.py --bind=vfio-pci 0000:03:00.0"), std::string::npos);
  EXPECT_EQ(find(checks, "port p1").found, "there is no PCI device 0000:04:00.0");
  std::string text;
  EXPECT_FALSE(preflight_text(checks, text));
  EXPECT_NE(text.find("BAD  port p0"), std::string::npos);
}

TEST_F(Preflight, GoodMachine) {
  write("proc/mounts", "none /dev/hugepages hugetlbfs rw 0 0\n");
  write("sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "512\n");
  write("sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "512\n");
  write("sys/kernel/iommu_groups/1/x", "");
  write("sys/bus/pci/devices/0000:03:00.0/vendor", "0x8086\n");
  std::filesystem::create_directory_symlink("../drivers/vfio-pci", folder / "sys/bus/pci/devices/0000:03:00.0/driver");
  const auto settings = *parse_config("slipway: {workers: [{kind: poll}], listen: [], ports: [{device: '0000:03:00.0'}]}", "t");
  std::string text;
  EXPECT_TRUE(preflight_text(preflight(settings, folder.string()), text)) << text;
  EXPECT_EQ(text.find("repair"), std::string::npos) << text;
}

}  // namespace
}  // namespace slipway
