// The server over real sockets on a loop that the test turns.
#include "api/http_server.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "control_bounds.h"

namespace slipway {
namespace {

class HttpServerTest : public testing::Test {
 protected:
  void SetUp() override {
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    address_.sun_family = AF_UNIX;
    const auto name = "slipway-http-test-" + std::to_string(getpid());
    name.copy(address_.sun_path + 1, sizeof address_.sun_path - 2);  // abstract: no file
    length_ = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
    ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address_), length_), 0);
    ASSERT_EQ(::listen(fd, 64), 0);
    ASSERT_TRUE(server_->listen(fd));
  }
  int connect_client() {
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&address_), length_), 0);
    turns();
    return fd;
  }
  void turns(int n = 20) {
    for (int i = 0; i < n; ++i) {
      loop_->turn(0);
    }
  }
  std::string read_all(int fd) {
    std::string out;
    char buffer[65536];
    for (;;) {
      turns(2);
      const auto got = recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
      if (got <= 0) {
        return out;
      }
      out.append(buffer, static_cast<std::size_t>(got));
    }
  }
  std::string ask(int fd, const std::string& text) {
    EXPECT_EQ(write(fd, text.data(), text.size()), static_cast<ssize_t>(text.size()));
    turns();
    return read_all(fd);
  }
  bool ended(int fd) {
    turns();
    char c = 0;
    return recv(fd, &c, 1, MSG_DONTWAIT) == 0;
  }

  std::uint64_t now_ns_ = 1'000'000'000;
  std::unique_ptr<Loop> loop_ = *Loop::create([this] { return now_ns_; });
  ControlCounters counters_;
  std::shared_ptr<ResponseStream> stream_;
  std::shared_ptr<LaterResponse> later_;
  std::unique_ptr<HttpServer> server_ = std::make_unique<HttpServer>(*loop_, counters_, 4, [this](const HttpRequest& request) {
    if (request.path == "/stream") {
      stream_ = std::make_shared<ResponseStream>();
      return HttpResponse{.type = "text/plain", .body = {}, .stream = stream_};
    }
    if (request.path == "/later") {
      later_ = std::make_shared<LaterResponse>();
      HttpResponse response;
      response.later = later_;
      return response;
    }
    return HttpResponse{.body = "you asked " + request.path + "\n"};
  });
  sockaddr_un address_{};
  socklen_t length_ = 0;
};

TEST_F(HttpServerTest, AnswersAndKeepsTheConnection) {
  const int fd = connect_client();
  const auto first = ask(fd, "GET /a HTTP/1.1\r\n\r\n");
  EXPECT_NE(first.find("200 OK"), std::string::npos);
  EXPECT_NE(first.find("you asked /a"), std::string::npos);
  const auto two = ask(fd, "GET /b HTTP/1.1\r\n\r\nGET /c HTTP/1.1\r\nConnection: close\r\n\r\n");
  EXPECT_NE(two.find("/b"), std::string::npos);
  EXPECT_NE(two.find("/c"), std::string::npos);
  EXPECT_TRUE(ended(fd));
  EXPECT_EQ(server_->connections(), 0u);
  EXPECT_EQ(counters_.api_requests, 3u);
  close(fd);
}

TEST_F(HttpServerTest, GarbageIsRefusedAndClosed) {
  const int fd = connect_client();
  EXPECT_NE(ask(fd, std::string("\x16\x03\x01garbage\r\n\r\n")).find("400 Bad Request"), std::string::npos);
  EXPECT_TRUE(ended(fd));
  close(fd);
}

TEST_F(HttpServerTest, ConnectionsAreBounded) {
  int fds[5];
  for (auto& fd : fds) {
    fd = connect_client();
  }
  EXPECT_EQ(server_->connections(), 4u);
  EXPECT_EQ(counters_.api_refused, 1u);
  EXPECT_TRUE(ended(fds[4]));
  for (const int fd : fds) {
    close(fd);
  }
  turns();
  EXPECT_EQ(server_->connections(), 0u);
}

TEST_F(HttpServerTest, SlowRequestsAndIdleConnectionsAreClosed) {
  const int slow = connect_client();
  const int idle = connect_client();
  ask(slow, "GET /a HT");
  now_ns_ += (kRequestDeadlineMs + 1) * 1'000'000;
  turns();
  server_->tick(now_ns_ / 1'000'000);
  EXPECT_TRUE(ended(slow));
  EXPECT_EQ(server_->connections(), 1u);
  now_ns_ += kIdleApiMs * 1'000'000;
  turns();
  server_->tick(now_ns_ / 1'000'000);
  EXPECT_TRUE(ended(idle));
  close(slow);
  close(idle);
}

TEST_F(HttpServerTest, AnAnswerMayComeLater) {
  const int fd = connect_client();
  EXPECT_EQ(ask(fd, "GET /later HTTP/1.1\r\n\r\n"), "");
  now_ns_ += 120'000'000'000;
  server_->tick(now_ns_ / 1'000'000);
  EXPECT_EQ(server_->connections(), 1u) << "waiting is no idleness";
  ASSERT_TRUE(later_->wanted());
  later_->give({.status = 409, .body = "at last\n"});
  later_->give({.body = "again\n"});
  const auto answer = read_all(fd);
  EXPECT_NE(answer.find("409 Conflict"), std::string::npos);
  EXPECT_NE(answer.find("at last"), std::string::npos);
  EXPECT_EQ(answer.find("again"), std::string::npos);
  EXPECT_TRUE(ended(fd));
  EXPECT_EQ(counters_.api_errors, 1u);
  close(fd);
}

TEST_F(HttpServerTest, WhoeverDoesNotWaitForALateAnswerIsNotAnswered) {
  const int fd = connect_client();
  (void)ask(fd, "GET /later HTTP/1.1\r\n\r\n");
  close(fd);
  turns();
  EXPECT_EQ(server_->connections(), 0u);
  EXPECT_FALSE(later_->wanted());
  later_->give({.body = "too late\n"});
}

TEST_F(HttpServerTest, StreamEndsWhenItsProducerEndsIt) {
  const int fd = connect_client();
  EXPECT_NE(ask(fd, "GET /stream HTTP/1.1\r\n\r\n").find("chunked"), std::string::npos);
  ASSERT_TRUE(stream_);
  EXPECT_TRUE(stream_->write("hello"));
  EXPECT_EQ(read_all(fd), "5\r\nhello\r\n");
  bool told = false;
  stream_->on_end = [&] { told = true; };
  stream_->end();
  EXPECT_EQ(read_all(fd), "0\r\n\r\n");
  EXPECT_TRUE(told);
  EXPECT_FALSE(stream_->write("more"));
  server_->tick(now_ns_ / 1'000'000);
  EXPECT_EQ(server_->connections(), 0u);
  close(fd);
}

TEST_F(HttpServerTest, StreamEndsWhenItsReaderLeaves) {
  const int fd = connect_client();
  ask(fd, "GET /stream HTTP/1.1\r\n\r\n");
  bool told = false;
  stream_->on_end = [&] { told = true; };
  close(fd);
  turns();
  EXPECT_TRUE(told);
  EXPECT_FALSE(stream_->open());
}

TEST_F(HttpServerTest, SlowReaderLosesRecordsNotTheNode) {
  const int fd = connect_client();
  ask(fd, "GET /stream HTTP/1.1\r\n\r\n");
  const std::string piece(1u << 20, 'x');
  int lost = 0;
  for (int i = 0; i < 40; ++i) {
    lost += stream_->write(piece) ? 0 : 1;
  }
  EXPECT_GT(lost, 0);
  EXPECT_LT(lost, 40);
  EXPECT_TRUE(stream_->open());
  close(fd);
  turns();
}

}  // namespace
}  // namespace slipway
