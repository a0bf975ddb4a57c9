#include "channel/sqlite_store.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "channel/key_file.h"

namespace slipway {
namespace {

mls::Secret key_of(std::uint8_t filler) {
  const std::vector<std::uint8_t> bytes(32, filler);
  return mls::Secret(mls::View(bytes));
}

class SqliteStoreTest : public testing::Test {
 protected:
  SqliteStoreTest() {
    std::string pattern = testing::TempDir() + "store-XXXXXX";
    folder = mkdtemp(pattern.data());
    file = folder + "/channels.db";
  }
  ~SqliteStoreTest() override { std::filesystem::remove_all(folder); }
  std::unique_ptr<SqliteStore> open(std::uint8_t filler = 1) {
    auto store = SqliteStore::open(*loop, file, key_of(filler));
    EXPECT_TRUE(store) << (store ? "" : store.error());
    return store ? std::move(*store) : nullptr;
  }
  std::string refused(std::uint8_t filler = 1) {
    const auto store = SqliteStore::open(*loop, file, key_of(filler));
    EXPECT_FALSE(store);
    return store ? "" : store.error();
  }
  void settle(const int& done, int wanted) {
    for (int i = 0; i < 1'000 && done < wanted; ++i) {
      loop->turn(10'000'000);
    }
    EXPECT_EQ(done, wanted);
  }
  std::string bytes() {
    std::ifstream in(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  std::unique_ptr<Loop> loop = std::move(*Loop::create());
  std::string folder;
  std::string file;
};

TEST_F(SqliteStoreTest, WhatWasPutIsThereAgainAndWhatWasErasedIsNot) {
  int done = 0;
  {
    auto store = open();
    const auto good = [&](std::expected<void, std::string> result) {
      EXPECT_TRUE(result) << result.error();
      ++done;
    };
    store->put("channel/a", "first", good);
    store->put("channel/a", "second", good);
    store->put("channel/b", std::string("with\0zero", 9), good);
    store->put("owner/a", "somebody", good);
    store->put("channel/gone", "x", good);
    store->erase("channel/gone", good);
    settle(done, 6);
    store->put_all({{"channel/c", "together"}, {"group/c", "and"}}, good);
    settle(done, 7);
  }
  auto store = open();
  using Values = std::vector<std::pair<std::string, std::string>>;
  EXPECT_EQ(store->take_loaded("channel/"), (Values{{"channel/a", "second"}, {"channel/b", std::string("with\0zero", 9)}, {"channel/c", "together"}}));
  EXPECT_EQ(store->take_loaded("channel/"), Values{});
  EXPECT_EQ(store->take_loaded(""), (Values{{"group/c", "and"}, {"owner/a", "somebody"}}));
}

TEST_F(SqliteStoreTest, WhatWaitsIsWrittenBeforeTheEnd) {
  { open()->put("a", std::string(3u << 20, 'x'), {}); }
  EXPECT_EQ(open()->take_loaded("a").at(0).second.size(), 3u << 20);
}

TEST_F(SqliteStoreTest, NothingIsThereInClear) {
  { open()->put("channel/a", "a very recognisable secret of the group", {}); }
  EXPECT_EQ(bytes().find("recognisable"), std::string::npos);
  struct stat status {};
  ASSERT_EQ(stat(file.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
}

TEST_F(SqliteStoreTest, AnotherKeyIsTold) {
  { open()->put("a", "b", {}); }
  EXPECT_NE(refused(2).find("the key does not fit"), std::string::npos);
  EXPECT_NE(open(1), nullptr);
}

TEST_F(SqliteStoreTest, ASecondProcessIsTold) {
  const auto store = open();
  EXPECT_NE(refused().find("another process uses it"), std::string::npos);
}

TEST_F(SqliteStoreTest, DamageIsTold) {
  { open()->put("a", std::string(100'000, 'x'), {}); }
  std::string kept = bytes();
  ASSERT_GT(kept.size(), 100'000u);
  for (const std::size_t at : {std::size_t{5}, std::size_t{100}, kept.size() / 3, kept.size() / 2}) {
    std::string damaged = kept;
    damaged.replace(at, 4, "DMGD");
    std::ofstream(file, std::ios::binary | std::ios::trunc) << damaged;
    EXPECT_NE(refused().find("damaged"), std::string::npos) << at << ": " << refused();
  }
  std::ofstream(file, std::ios::binary | std::ios::trunc) << kept.substr(0, kept.size() / 2);
  EXPECT_NE(refused().find("damaged"), std::string::npos);
  std::ofstream(file, std::ios::binary | std::ios::trunc) << std::string(5'000, 'y');
  EXPECT_NE(refused().find("damaged"), std::string::npos);
}

TEST_F(SqliteStoreTest, OthersMayNotRead) {
  { open(); }
  chmod(file.c_str(), 0640);
  EXPECT_NE(refused().find("chmod 0600"), std::string::npos);
  file = folder + "/no/such/folder.db";
  EXPECT_NE(refused().find("No such file"), std::string::npos);
}

TEST_F(SqliteStoreTest, TooLargeIsRefused) {
  auto store = open();
  int done = 0;
  store->put(std::string(1'000, 'n'), "x", [&](std::expected<void, std::string> result) {
    EXPECT_FALSE(result);
    ++done;
  });
  settle(done, 1);
}

TEST_F(SqliteStoreTest, KeyFiles) {
  const std::string key = folder + "/key";
  const auto write = [&](const std::string& text, mode_t mode) {
    std::ofstream(key, std::ios::binary | std::ios::trunc) << text;
    chmod(key.c_str(), mode);
  };
  write(std::string(64, 'a') + "\n", 0600);
  ASSERT_TRUE(read_sealing_key(key));
  EXPECT_EQ(read_sealing_key(key)->data()[0], 0xAA);
  write(std::string(32, '\n'), 0640);
  EXPECT_TRUE(read_sealing_key(key)) << "32 bytes are a key, whatever they are";
  write(std::string(63, 'a') + "g", 0600);
  EXPECT_FALSE(read_sealing_key(key));
  write("short", 0600);
  EXPECT_NE(read_sealing_key(key).error().find("64 hexadecimal digits"), std::string::npos);
  write(std::string(64, 'a'), 0644);
  EXPECT_NE(read_sealing_key(key).error().find("chmod 0600"), std::string::npos);
  EXPECT_NE(read_sealing_key(folder).error().find("no file"), std::string::npos);
  EXPECT_FALSE(read_sealing_key(folder + "/none"));
  write("the secret\n", 0600);
  EXPECT_EQ(read_secret_line(key).value_or(""), "the secret");
  write("two\nlines\n", 0600);
  EXPECT_FALSE(read_secret_line(key));
}

}  // namespace
}  // namespace slipway
