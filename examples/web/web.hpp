// What the demo programs share: a web server that speaks JSON, and an end by Ctrl-C.
#pragma once

#include <httplib.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <utility>

#include "settings.hpp"

namespace web {

using Json = nlohmann::ordered_json;
using httplib::Request;
using httplib::Response;

inline void reply(Response& response, const Json& json) {
    response.set_content(json.dump() + "\n", "application/json");
}
inline void refuse(Response& response, int status, const std::string& sentence) {
    response.status = status;
    reply(response, {{"error", sentence}});
}
inline void reply_html(Response& response, const char* page) { response.set_content(page, "text/html"); }

/// For programs without an App, whose wait() does this: blocks until SIGINT or SIGTERM. Called by the main thread.
inline void wait_for_signal() {
    static volatile std::sig_atomic_t arrived = 0;
    std::signal(SIGINT, [](int) { arrived = 1; });
    std::signal(SIGTERM, [](int) { arrived = 1; });
    while (arrived == 0) std::this_thread::sleep_for(std::chrono::milliseconds(100));
}

/// What a demo does on purpose: it dies at once, as under `kill -9`. No destructor runs, nothing is flushed.
[[noreturn]] inline void crash() { std::_Exit(1); }

/// A member of a JSON request body; `otherwise` if the body is no object or has no such member of that type.
template <class T>
T body_member(const Request& request, const char* name, T otherwise) {
    const Json body = Json::parse(request.body, nullptr, false);
    try {
        return body.is_object() && body.contains(name) ? body[name].get<T>() : otherwise;
    } catch (const Json::type_error&) {
        return otherwise;
    }
}

/// Routes are added with Get() and post(); start() serves them on a thread, until the object goes. An exception of a route
/// becomes an answer with status 500.
class Server : public httplib::Server {
   public:
    Server() {
        set_keep_alive_timeout(1);
        set_exception_handler([](const Request& request, Response& response, std::exception_ptr error) {
            try {
                std::rethrow_exception(error);
            } catch (const std::exception& exception) {
                std::cerr << request.method << " " << request.path << ": " << exception.what() << "\n";
                refuse(response, 500, exception.what());
            } catch (...) {
                refuse(response, 500, "unknown error");
            }
        });
    }
    ~Server() override {
        while (serving_) {  // stop() does nothing as long as the thread is on its way to serving
            stop();
            std::this_thread::sleep_for(std::chrono::milliseconds(10));
        }
        if (thread_.joinable()) thread_.join();
    }
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

    /// As Post(), which waits five seconds for the body of a request that has none and does not say so (`curl -X POST`).
    void post(const std::string& pattern, Handler handler) {
        Post(pattern, [handler = std::move(handler)](const Request& request, Response& response,
                                                     const httplib::ContentReader& read) {
            Request whole = request;
            if (request.has_header("Content-Length") || request.has_header("Transfer-Encoding")) {
                read([&](const char* bytes, std::size_t count) {
                    whole.body.append(bytes, count);
                    return true;
                });
            }
            handler(whole, response);
        });
    }

    /// Ends the program with a sentence if the address cannot be had.
    void start(const Settings& settings) {
        int port = settings.port;
        if (port == 0) {
            port = bind_to_any_port(settings.host);
        } else if (!bind_to_port(settings.host, port)) {
            port = -1;
        }
        if (port < 0) {
            std::cerr << "cannot listen on " << settings.host << ":" << settings.port
                      << "; try another --port\n";
            std::exit(1);
        }
        serving_ = true;
        thread_ = std::thread([this] {
            listen_after_bind();
            serving_ = false;
        });
        std::cout << "Listening on http://" << settings.host << ":" << port << std::endl;
    }

   private:
    std::atomic<bool> serving_ = false;
    std::thread thread_;
};

}  // namespace web
