// slipway-file: sends a file over an encrypted session with one application. It goes on by itself when the node restarts, and a
// second attempt goes on where the first one ended.
//
//   slipway-file receive org/team/bob FOLDER
//   slipway-file send org/team/bob FILE
//
// What is said, by payload type: "offer" (name, size), "have" (bytes that are there), "chunk", "end" (SHA-256), "done" or "bad".

#include <openssl/evp.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "example.h"

using namespace slipway;
using namespace slipway::example;
using std::chrono::milliseconds;

namespace {

constexpr std::size_t kChunkBytes = 32u << 10;

std::string digest_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  EVP_MD_CTX* const context = EVP_MD_CTX_new();
  EVP_DigestInit_ex(context, EVP_sha256(), nullptr);
  std::array<char, 1 << 16> part;
  while (file.read(part.data(), part.size()), file.gcount() > 0) {
    EVP_DigestUpdate(context, part.data(), static_cast<std::size_t>(file.gcount()));
  }
  std::string digest(32, '\0');
  EVP_DigestFinal_ex(context, reinterpret_cast<unsigned char*>(digest.data()), nullptr);
  EVP_MD_CTX_free(context);
  return digest;
}

void show_progress(std::uint64_t done, std::uint64_t size, bool last) {
  static int shown = -1;
  const int percent = size == 0 ? 100 : static_cast<int>(done * 100 / size);
  if (percent == shown || (!isatty(STDERR_FILENO) && !last)) {
    return;
  }
  shown = percent;
  const std::string bar(static_cast<std::size_t>(percent / 2), '#');
  std::fprintf(stderr, "\r[%-50s] %3d %%%s", bar.c_str(), percent, last ? "\n" : "");
}

// --- send --------------------------------------------------------------------------------------------------------

std::string expect_answer(BlockingSession& session, std::string_view type) {
  const AppMessage answer = get(session.get_message(std::chrono::minutes(5)));
  if (answer.payload_type != type) {
    give_up("the receiver said " + answer.payload_type + ": " + std::string(text_of(answer.payload)));
  }
  return std::string(text_of(answer.payload));
}

int send(BlockingApp& app, const std::string& peer, const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  const std::uint64_t size = file ? std::filesystem::file_size(path) : 0;
  if (!file) {
    give_up("cannot read " + path.string());
  }
  // Patient: 120 tries of half a second are a minute without a node.
  const auto session = get(app.create_session(UnicastOptions{.peer = name_of(peer), .timeout = milliseconds(500), .max_retries = 100}));
  get(session->publish(path.filename().string() + "\n" + std::to_string(size), {.payload_type = "offer"}));
  std::uint64_t at = std::stoull(expect_answer(*session, "have"));
  if (at > 0) {
    std::printf("going on at byte %llu\n", static_cast<unsigned long long>(at));
  }
  file.seekg(static_cast<std::streamoff>(at));
  std::array<char, kChunkBytes> chunk;
  while (file.read(chunk.data(), chunk.size()), file.gcount() > 0) {
    const auto bytes = static_cast<std::size_t>(file.gcount());
    // Waits while too much is unacknowledged: the receiver's speed is ours.
    get(session->publish({chunk.data(), bytes}, {.payload_type = "chunk"}, std::chrono::minutes(5)));
    at += bytes;
    show_progress(at, size, false);
  }
  get(session->publish(digest_of(path), {.payload_type = "end"}, std::chrono::minutes(5)));
  expect_answer(*session, "done");
  show_progress(at, size, true);
  (void)session->close();
  std::printf("sent %s, %llu bytes\n", path.filename().c_str(), static_cast<unsigned long long>(size));
  return 0;
}

// --- receive -----------------------------------------------------------------------------------------------------

struct Transfer {
  std::filesystem::path partial;
  std::filesystem::path whole;
  std::uint64_t size = 0;
  std::ofstream file;
};

void take_offer(BlockingSession& session, std::string_view offer, const std::filesystem::path& folder, Transfer& transfer) {
  const std::size_t line = offer.find('\n');
  const std::filesystem::path name = std::filesystem::path(offer.substr(0, line)).filename();  // never outside of the folder
  if (line == std::string_view::npos || name.empty() || name == "." || name == "..") {
    (void)session.publish("no usable name", {.payload_type = "bad"});
    return;
  }
  transfer.size = std::strtoull(std::string(offer.substr(line + 1)).c_str(), nullptr, 10);
  transfer.whole = folder / name;
  transfer.partial = folder / (name.string() + ".part");
  std::error_code none;
  std::uint64_t have = std::filesystem::exists(transfer.partial) ? std::filesystem::file_size(transfer.partial, none) : 0;
  have = have > transfer.size ? 0 : have;
  transfer.file.open(transfer.partial, have == 0 ? std::ios::binary | std::ios::trunc : std::ios::binary | std::ios::app);
  (void)session.publish(std::to_string(have), {.payload_type = "have"});
}

// True: the file is there and right.
bool finish(BlockingSession& session, std::string_view digest, Transfer& transfer) {
  transfer.file.close();
  const bool right = digest_of(transfer.partial) == digest;
  if (right) {
    std::filesystem::rename(transfer.partial, transfer.whole);
    std::printf("received %s, %llu bytes\n", transfer.whole.filename().c_str(), static_cast<unsigned long long>(transfer.size));
  } else {
    std::filesystem::remove(transfer.partial);
    std::printf("%s arrived with other bytes: thrown away\n", transfer.whole.filename().c_str());
  }
  std::fflush(stdout);
  (void)session.publish(right ? "" : "the bytes differ", {.payload_type = right ? "done" : "bad"});
  return right;
}

void receive_one(BlockingSession& session, const std::filesystem::path& folder) {
  Transfer transfer;
  while (const auto message = session.get_message(std::chrono::minutes(5))) {
    if (message->payload_type == "offer") {
      take_offer(session, text_of(message->payload), folder, transfer);
    } else if (message->payload_type == "chunk" && transfer.file.is_open()) {
      const auto bytes = text_of(message->payload);
      transfer.file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    } else if (message->payload_type == "end" && transfer.file.is_open()) {
      finish(session, text_of(message->payload), transfer);
    }
  }
}

[[noreturn]] void receive(BlockingApp& app, const std::filesystem::path& folder) {
  std::filesystem::create_directories(folder);
  std::printf("receiving as %s\n", app.name().shown().c_str());
  std::fflush(stdout);
  while (true) {
    auto session = app.listen_for_session(milliseconds(1'000));
    if (session && (*session)->kind() == SessionKind::kUnicast) {
      receive_one(**session, folder);
    }
  }
}

}  // namespace

int main(int count, char** values) {
  const CommandLine line(count, values);
  if (line.words.size() != 3 || (line.words[0] != "send" && line.words[0] != "receive")) {
    give_up("usage: slipway-file send PEER FILE | receive NAME FOLDER   [--node ADDRESS]");
  }
  if (line.words[0] == "receive") {
    receive(*connected_app(line.words[1], line.node), line.words[2]);
  }
  const auto app = connected_app("examples/files/sender-" + std::to_string(::getpid()), line.node);
  return send(*app, line.words[1], line.words[2]);
}
