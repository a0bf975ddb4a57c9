#include "channel/key_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "channel/channel_bounds.h"

namespace slipway {
namespace {

constexpr std::size_t kMaxSecretFileBytes = 4'096;

// The file's bytes; it must be a plain file that others cannot read, nor anybody but its owner write.
std::expected<std::string, std::string> read_private(const std::string& file, const char* what) {
  const auto fail = [&](const std::string& why) { return std::unexpected("cannot use " + std::string(what) + " " + file + ": " + why); };
  const int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) {
    return fail(std::strerror(errno));
  }
  struct stat status {};
  std::string bytes(kMaxSecretFileBytes + 1, '\0');
  ssize_t got = -1;
  if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode)) {
    got = ::read(fd, bytes.data(), bytes.size());
  }
  ::close(fd);
  if (!S_ISREG(status.st_mode)) {
    return fail("it is no file");
  }
  if ((status.st_mode & (S_IRWXO | S_IWGRP)) != 0) {
    wipe(bytes);
    std::array<char, 8> mode{};
    std::snprintf(mode.data(), mode.size(), "%04o", static_cast<unsigned>(status.st_mode & 07777));
    return fail("its mode is " + std::string(mode.data()) + ", so that others can read or change it: chmod 0600 " + file);
  }
  if (got < 0) {
    return fail(std::strerror(errno));
  }
  if (static_cast<std::size_t>(got) > kMaxSecretFileBytes) {
    wipe(bytes);
    return fail("it is too long to be a key or secret");
  }
  bytes.resize(static_cast<std::size_t>(got));
  return bytes;
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') {
    return c - '0';
  }
  const char lower = static_cast<char>(c | 0x20);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

}  // namespace

std::expected<std::string, std::string> read_secret_line(const std::string& file) {
  auto bytes = read_private(file, "the secret in");
  if (!bytes) {
    return bytes;
  }
  while (!bytes->empty() && (bytes->back() == '\n' || bytes->back() == '\r')) {
    bytes->pop_back();
  }
  if (bytes->empty() || bytes->find('\n') != std::string::npos) {
    wipe(*bytes);
    return std::unexpected("cannot use the secret in " + file + ": it must be one line");
  }
  return bytes;
}

std::expected<mls::Secret, std::string> read_sealing_key(const std::string& file) {
  auto bytes = read_private(file, "the key in");
  if (!bytes) {
    return std::unexpected(bytes.error());
  }
  mls::Secret key;
  std::string text = *bytes;
  while (text.size() > 2 * kSealingKeyBytes && (text.back() == '\n' || text.back() == '\r')) {
    text.pop_back();
  }
  if (bytes->size() == kSealingKeyBytes) {
    key = mls::Secret({reinterpret_cast<const std::uint8_t*>(bytes->data()), bytes->size()});
  } else if (text.size() == 2 * kSealingKeyBytes) {
    key = mls::Secret::zeros(kSealingKeyBytes);
    for (std::size_t i = 0; i < kSealingKeyBytes && !key.empty(); ++i) {
      const int high = hex_digit(text[2 * i]);
      const int low = hex_digit(text[2 * i + 1]);
      if (high < 0 || low < 0) {
        key.clear();
      } else {
        key.data()[i] = static_cast<std::uint8_t>(high << 4 | low);
      }
    }
  }
  wipe(text);
  wipe(*bytes);
  if (key.empty()) {
    return std::unexpected("cannot use the key in " + file + ": it must be 32 bytes, or 64 hexadecimal digits: openssl rand -hex 32 > " + file);
  }
  return key;
}

}  // namespace slipway
