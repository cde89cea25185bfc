// Table of contents of the addon: its exports, what it keeps per environment, and how an
// environment's drivers end with it. One addon serves several drivers in one environment (module
// registries of a test runner) and every worker.
#include <napi.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <uv.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "contract.h"
#include "datagram_object.h"
#include "driver_object.h"
#include "js_call.h"
#include "libuv_stream.h"
#include "probe.h"
#include "socket_calls.h"
#include "stream_object.h"

namespace uring_net {

namespace {

// Everything of one environment. Deletes itself when the environment has ended and the last
// driver's libuv handles are closed; the engine's finalizers may run before that, so none of them
// may own this.
class Environment final : public EngineOwner {
 public:
  static Environment* Create(napi_env env);

  Napi::Value CreateDriver(const Napi::CallbackInfo& info);
  Napi::Value CreateEngine(const Napi::CallbackInfo& info);
  Napi::Value CreateDatagramEngine(const Napi::CallbackInfo& info);
  void OnEngineGone(LoopEngine* engine) override;
  // process.exit() ends the main thread without its clean-up hooks.
  void FlushAtExit();
  // From any thread, with environments_mutex held.
  void FlushFromAnyThread();

 private:
  explicit Environment(napi_env env) : env_(env), thread_(std::this_thread::get_id()) {}
  ~Environment() = default;
  static void OnCleanup(napi_async_cleanup_hook_handle hook, void* data);
  void FinishWhenEmpty();
  // Starts the engine that `make` makes, and gives it an object that `make_object` makes.
  template <typename Engine, typename Make, typename MakeObject>
  Napi::Value Create(const Napi::CallbackInfo& info,
                     std::vector<std::unique_ptr<Handle<Engine>>>* handles, Make make,
                     MakeObject make_object);

  napi_env env_;
  const std::thread::id thread_;
  napi_async_cleanup_hook_handle hook_ = nullptr;
  bool ending_ = false;
  // Engines with libuv handles, closed ones included. Guarded by environments_mutex.
  std::vector<LoopEngine*> engines_;
  std::vector<std::unique_ptr<Handle<Driver>>> driver_handles_;
  std::vector<std::unique_ptr<Handle<StreamEngine>>> engine_handles_;
  std::vector<std::unique_ptr<Handle<DatagramEngine>>> datagram_handles_;
};

// Environments alive in this process.
std::mutex environments_mutex;
// Never destroyed: workers may still be running when the process exits.
std::vector<Environment*>& environments = *new std::vector<Environment*>();

void FlushAllFromHere() {
  const std::lock_guard<std::mutex> lock(environments_mutex);
  for (Environment* environment : environments) environment->FlushFromAnyThread();
}

// Of what exit(3) runs, a destructor: glibc has no atexit(3) that could be looked up at load time.
const struct AtExit {
  ~AtExit() {
    const std::lock_guard<std::mutex> lock(environments_mutex);
    for (Environment* environment : environments) environment->FlushAtExit();
  }
} at_exit;

Environment* Environment::Create(napi_env env) {
  auto* environment = new Environment(env);
  napi_add_async_cleanup_hook(env, OnCleanup, environment, &environment->hook_);
  const std::lock_guard<std::mutex> lock(environments_mutex);
  environments.push_back(environment);
  return environment;
}

void Environment::FlushFromAnyThread() {
  for (LoopEngine* engine : engines_) engine->FlushFromAnyThread();
}

void Environment::FlushAtExit() {
  FlushFromAnyThread();
  // A ring belongs to the thread that made it.
  if (thread_ != std::this_thread::get_id()) return;
  for (LoopEngine* engine : engines_) {
    if (!engine->closed()) engine->Flush();
  }
}

template <typename Engine, typename Make, typename MakeObject>
Napi::Value Environment::Create(const Napi::CallbackInfo& info,
                                std::vector<std::unique_ptr<Handle<Engine>>>* handles, Make make,
                                MakeObject make_object) {
  Napi::Env env = info.Env();
  const auto refuse = [env](int error) { return Napi::Number::New(env, error); };
  Options options;
  uv_loop_t* loop = nullptr;
  if (!info[0].IsString() || !info[1].IsObject() || !info[2].IsFunction()) return refuse(-EINVAL);
  const std::string kind = info[0].As<Napi::String>().Utf8Value();
  if (kind != "uring" && kind != "epoll") return refuse(-EINVAL);
  if (!ReadOptions(info[1].As<Napi::Object>(), &options)) return refuse(-EINVAL);
  if (napi_get_uv_event_loop(env, &loop) != napi_ok) return refuse(-EINVAL);
  std::unique_ptr<Engine> engine = make(options, kind == "uring");
  const int error = engine->Start(loop, info[2]);
  if (error != 0) return refuse(error);
  handles->push_back(std::make_unique<Handle<Engine>>());
  Handle<Engine>* handle = handles->back().get();
  handle->target = engine.get();
  {
    const std::lock_guard<std::mutex> lock(environments_mutex);
    engines_.push_back(engine.release());
  }
  const Napi::Value object = make_object(env, handle);
  if (!object.IsEmpty()) return object;
  std::exchange(handle->target, nullptr)->Shutdown(true);
  return refuse(-ENOMEM);
}

Napi::Value Environment::CreateDriver(const Napi::CallbackInfo& info) {
  const auto make = [this](const Options& options, bool is_uring) {
    return std::make_unique<Driver>(env_, this, options,
                                    is_uring ? MakeUringOperations() : MakeEpollOperations());
  };
  return Create<Driver>(info, &driver_handles_, make, MakeDriverObject);
}

Napi::Value Environment::CreateEngine(const Napi::CallbackInfo& info) {
  if (const char* missing = ProveLibuv()) return Napi::String::New(info.Env(), missing);
  const auto make = [this](const Options& options, bool is_uring) {
    return std::make_unique<StreamEngine>(env_, this, options,
                                          is_uring ? MakeUringStreams() : MakeEpollStreams());
  };
  return Create<StreamEngine>(info, &engine_handles_, make, MakeEngineObject);
}

Napi::Value Environment::CreateDatagramEngine(const Napi::CallbackInfo& info) {
  const auto make = [this](const Options&, bool) {
    return std::make_unique<DatagramEngine>(env_, this);
  };
  return Create<DatagramEngine>(info, &datagram_handles_, make, MakeDatagramObject);
}

void Environment::OnEngineGone(LoopEngine* engine) {
  {
    const std::lock_guard<std::mutex> lock(environments_mutex);
    engines_.erase(std::find(engines_.begin(), engines_.end(), engine));
  }
  // Lifetime: a stuck engine is leaked, with all memory the kernel may still write to.
  if (!engine->stuck()) delete engine;
  if (ending_) FinishWhenEmpty();
}

void Environment::OnCleanup(napi_async_cleanup_hook_handle, void* data) {
  auto* environment = static_cast<Environment*>(data);
  {
    const std::lock_guard<std::mutex> lock(environments_mutex);
    environments.erase(std::find(environments.begin(), environments.end(), environment));
  }
  environment->ending_ = true;
  for (LoopEngine* engine : environment->engines_) engine->Shutdown(false);
  environment->FinishWhenEmpty();
}

void Environment::FinishWhenEmpty() {
  if (!engines_.empty()) return;
  const napi_async_cleanup_hook_handle hook = hook_;
  delete this;
  napi_remove_async_cleanup_hook(hook);
}

Environment* EnvironmentOf(const Napi::CallbackInfo& info) {
  return static_cast<Environment*>(info.Data());
}

Napi::Value Probe(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  const ProbeResult result = ProbeKernel();
  utsname system = {};
  uname(&system);
  Napi::Object out = Napi::Object::New(env);
  out.Set("kernel", system.release);
  out.Set("uringError", result.error);
  out.Set("uringStep", result.step);
  Napi::Object features = Napi::Object::New(env);
  for (uint32_t bit = 0; bit < std::size(kFeatureNames); ++bit) {
    features.Set(kFeatureNames[bit], Napi::Boolean::New(env, (result.features >> bit & 1) != 0));
  }
  out.Set("features", features);
  return out;
}

Napi::Value CreateDriver(const Napi::CallbackInfo& info) {
  return EnvironmentOf(info)->CreateDriver(info);
}

Napi::Value CreateEngine(const Napi::CallbackInfo& info) {
  return EnvironmentOf(info)->CreateEngine(info);
}

Napi::Value CreateDatagramEngine(const Napi::CallbackInfo& info) {
  return EnvironmentOf(info)->CreateDatagramEngine(info);
}

Napi::Value FlushAll(const Napi::CallbackInfo& info) {
  FlushAllFromHere();
  return info.Env().Undefined();
}

// Reports an exception as one that nobody caught, in the async context of the caller.
Napi::Value Report(const Napi::CallbackInfo& info) {
  napi_fatal_exception(info.Env(), info[0]);
  return info.Env().Undefined();
}

// setsockopt(2) with SO_SNDBUF and SO_RCVBUF; 0 leaves one as it is.
Napi::Value SetBufferBytes(const Napi::CallbackInfo& info) {
  for (size_t i = 0; i < 3; ++i) {
    if (!info[i].IsNumber()) return Napi::Number::New(info.Env(), -EINVAL);
  }
  const int fd = info[0].As<Napi::Number>().Int32Value();
  const int names[] = {SO_SNDBUF, SO_RCVBUF};
  int error = 0;
  for (size_t i = 0; i < std::size(names); ++i) {
    const int bytes = info[i + 1].As<Napi::Number>().Int32Value();
    if (bytes <= 0) continue;
    if (setsockopt(fd, SOL_SOCKET, names[i], &bytes, sizeof bytes) == -1) error = -errno;
  }
  return Napi::Number::New(info.Env(), error);
}

// Another descriptor of a stream socket, which is the caller's. It or -errno.
Napi::Value Duplicate(const Napi::CallbackInfo& info) {
  int32_t fd;
  int family;
  const bool valid = Read(info.Env(), info[0], &fd);
  return Napi::Number::New(info.Env(), valid ? DuplicateSocket(fd, &family) : -EINVAL);
}

Napi::Object Constants(Napi::Env env) {
  const std::pair<const char*, int32_t> numbers[] = {
      {"COMMAND_HEADER_WORDS", kCommandHeaderWords},
      {"COMMAND_WORDS", kCommandWords},
      {"COMPLETION_HEADER_WORDS", kCompletionHeaderWords},
      {"COMPLETION_WORDS", kCompletionWords},
      {"SLOT_BITS", kSlotBits},
      {"FLAG_MORE", kFlagMore},
      {"DATAGRAM_SLOT_BYTES", kDatagramSlotBytes},
      {"Op.receive", kReceive},
      {"Op.receiveInto", kReceiveInto},
      {"Op.piece", kPiece},
      {"Op.send", kSend},
      {"Op.accept", kAccept},
      {"Op.connect", kConnect},
      {"Op.shutdown", kShutdown},
      {"Op.cancel", kCancel},
      {"Op.close", kClose},
      {"Op.provide", kProvide},
      {"Op.wake", kWake},
      {"Op.readFile", kReadFile},
      {"Op.poll", kPoll},
      {"Op.receiveDatagrams", kReceiveDatagrams},
      {"Op.to", kTo},
      {"Op.sendDatagram", kSendDatagram},
      {"SocketOption.noDelay", kNoDelay},
      {"SocketOption.keepAliveSeconds", kKeepAliveSeconds},
      {"SocketOption.sendBufferBytes", kSendBufferBytes},
      {"SocketOption.receiveBufferBytes", kReceiveBufferBytes},
      {"SocketOption.timeToLive", kTimeToLive},
      {"SocketOption.multicastTimeToLive", kMulticastTimeToLive},
      {"SocketOption.multicastLoopback", kMulticastLoopback},
      {"SocketOption.broadcast", kBroadcast},
      {"SocketOption.coalesce", kCoalesce},
      {"Family.inet", kFamilyInet},
      {"Family.inet6", kFamilyInet6},
      {"Family.unix", kFamilyUnix},
  };
  Napi::Object out = Napi::Object::New(env);
  for (const auto& [name, value] : numbers) out.Set(name, value);
  // Position in the list = bit in NativeOptions.disable.
  out.Set("features", FeatureNames(env, ~0u));
  return out;
}

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  Environment* environment = Environment::Create(env);
  exports.Set("contractVersion", kContractVersion);
  exports.Set("constants", Constants(env));
  exports.Set("probe", Napi::Function::New<Probe>(env, "probe", environment));
  exports.Set("setBufferBytes", Napi::Function::New<SetBufferBytes>(env, "setBufferBytes"));
  exports.Set("duplicate", Napi::Function::New<Duplicate>(env, "duplicate"));
  exports.Set("createDriver", Napi::Function::New<CreateDriver>(env, "createDriver", environment));
  exports.Set("createEngine", Napi::Function::New<CreateEngine>(env, "createEngine", environment));
  exports.Set("createDatagramEngine",
              Napi::Function::New<CreateDatagramEngine>(env, "createDatagramEngine", environment));
  exports.Set("sendAllGathered", Napi::Function::New<FlushAll>(env, "sendAllGathered"));
  exports.Set("report", Napi::Function::New<Report>(env, "report"));
  return exports;
}

}  // namespace

NODE_API_MODULE(uring_net, Init)

}  // namespace uring_net
