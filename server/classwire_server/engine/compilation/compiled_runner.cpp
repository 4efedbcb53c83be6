// Runs a compiled model as torch operators, which release Python's GIL while they run. Torch's own
// binding holds the GIL, so that two lanes could not run at the same time.
//
// The model calls the operators below in place of those of engine/forward, which have the same
// names and the same bits, but are in Python. So a pass takes the GIL only to pause.

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/stack.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/stack.h>
#include <torch/csrc/inductor/aoti_runner/model_container_runner_cpu.h>
#include <torch/library.h>

#include <algorithm>
#include <bit>
#include <string>
#include <unordered_map>
#include <vector>

using at::Tensor;

constexpr int64_t ZERO_POINT = 128;  // of the codes in engine/forward/int8.py

struct Model {
  torch::inductor::AOTIModelContainerRunnerCpu runner;
  const int64_t* urgent_passes;
  void (*preemption_point)();  // takes the GIL
  std::unordered_map<int64_t, std::vector<Tensor>> weights{};  // in oneDNN's layouts, by digest
};

struct Pass {
  const Model& model;
  bool yields;
};
// The pass that this thread computes. Operators get nothing else that leads to their model.
static thread_local const Pass* current_pass = nullptr;

static void preemption_point() {
  const Pass* pass = current_pass;
  if (pass && pass->yields && __atomic_load_n(pass->model.urgent_passes, __ATOMIC_RELAXED))
    pass->model.preemption_point();
}

template <typename... Arguments>
static Tensor call(const c10::OperatorHandle& op, Arguments&&... arguments) {
  torch::jit::Stack stack;
  torch::jit::push(stack, std::forward<Arguments>(arguments)...);
  op.callBoxed(stack);
  return torch::jit::pop(stack).toTensor();
}

// in_steps of engine/forward/onednn.py, with the weights of a digest.
template <typename Product>
static Tensor in_steps(const Tensor& states, int64_t digest, Product product) {
  preemption_point();
  TORCH_CHECK(current_pass, "no pass runs on this thread");
  const std::vector<Tensor>& weights = current_pass->model.weights.at(digest);
  Tensor rows = states.reshape({-1, states.size(-1)});  // (tokens, inputs)
  const int64_t tokens = rows.size(0);
  const int bits = static_cast<int>(std::bit_width(static_cast<uint64_t>(tokens - 1)));
  const int64_t step = int64_t{1} << std::max(0, bits - 5);
  const int64_t padded = (tokens + step - 1) / step * step;
  if (padded > tokens) rows = at::constant_pad_nd(rows, {0, 0, 0, padded - tokens});
  const Tensor result = product(rows, weights).narrow(0, 0, tokens);  // (tokens, outputs)
  std::vector<int64_t> shape = states.sizes().vec();
  shape.back() = result.size(1);
  return result.view(shape);  // (..., outputs)
}

static Tensor int8_product(const Tensor& codes, int64_t digest, int64_t) {
  static const auto product =
      c10::Dispatcher::singleton().findSchemaOrThrow("onednn::qlinear_pointwise", "");
  return in_steps(codes, digest, [](const Tensor& rows, const std::vector<Tensor>& weights) {
    return call(
        product, rows, 1.0, ZERO_POINT, weights[0], weights[1], weights[2], c10::IValue(), 1.0, 0,
        at::kFloat, "none", c10::List<std::optional<at::Scalar>>(), "");
  });
}

static Tensor prepacked_product(
    const Tensor& states, const std::optional<Tensor>& bias, int64_t digest, int64_t) {
  static const auto product =
      c10::Dispatcher::singleton().findSchemaOrThrow("mkldnn::_linear_pointwise", "");
  return in_steps(states, digest, [&](const Tensor& rows, const std::vector<Tensor>& weights) {
    return call(
        product, rows, weights[0], bias, "none", c10::List<std::optional<at::Scalar>>(), "");
  });
}

static Tensor attend_within_texts(
    const Tensor& query, const Tensor& key, const Tensor& value, const Tensor& bounds,
    const Tensor&, std::optional<double> scaling, std::optional<int64_t> window) {
  preemption_point();
  const auto bound = bounds.accessor<int64_t, 1>();
  const int64_t texts = bound.size(0) - 1;
  const auto length_of = [&](int64_t text) { return bound[text + 1] - bound[text]; };
  const auto row = [](const Tensor& states) { return states[0].transpose(0, 1); };
  const Tensor q = row(query), k = row(key), v = row(value);  // each (tokens, heads, size)
  const Tensor output = at::empty(q.sizes(), q.options());    // (tokens, heads, size)
  for (int64_t first = 0, end; first < texts; first = end) {
    const int64_t length = length_of(first);
    for (end = first + 1; end < texts && length_of(end) == length;) ++end;
    if (length == 0) continue;
    const auto grouped = [&](const Tensor& row) {  // (texts, heads, length, size)
      const Tensor tokens = row.slice(0, bound[first], bound[end]);
      return tokens.unflatten(0, {end - first, length}).transpose(1, 2);
    };
    std::optional<Tensor> mask;
    if (window && length > *window + 1) {
      const Tensor positions = at::arange(length, at::kLong);  // (length,)
      mask = positions.unsqueeze(1).sub(positions).abs().le(*window);  // (length, length)
    }
    grouped(output).copy_(at::scaled_dot_product_attention(
        grouped(q), grouped(k), grouped(v), mask, 0.0, false, scaling));
  }
  return output.unsqueeze(0);  // (1, tokens, heads, size)
}

static Tensor mean_within_texts(const Tensor& hidden, const Tensor& bounds) {
  const auto bound = bounds.accessor<int64_t, 1>();
  std::vector<Tensor> means;
  for (int64_t text = 0; text + 1 < bound.size(0); ++text)
    means.push_back(hidden.slice(0, bound[text], bound[text + 1]).mean(0));
  return at::stack(means);  // (texts, hidden)
}

// The caller keeps what `urgent_passes` and `preemption_point` point to until `close`.
static int64_t open_library(
    const std::string& library, int64_t lanes, int64_t urgent_passes, int64_t preemption_point) {
  return reinterpret_cast<int64_t>(new Model{
      {library, static_cast<size_t>(lanes)},
      reinterpret_cast<const int64_t*>(urgent_passes),
      reinterpret_cast<void (*)()>(preemption_point)});
}

static std::vector<std::string> weight_names(int64_t model) {
  std::vector<std::string> names;
  for (const auto& [_, name] :
       reinterpret_cast<Model*>(model)->runner.getConstantNamesToOriginalFQNs())
    names.push_back(name);
  return names;
}

// The runner keeps pointers to the weights; the caller keeps the weights alive.
static void set_weights(
    int64_t model, const std::vector<std::string>& names, const std::vector<Tensor>& weights) {
  auto& runner = reinterpret_cast<Model*>(model)->runner;
  std::unordered_map<std::string, Tensor> by_name;
  for (size_t i = 0; i < names.size(); ++i) by_name.emplace(names[i], weights[i]);
  std::unordered_map<std::string, Tensor> by_constant;
  for (const auto& [constant, name] : runner.getConstantNamesToOriginalFQNs())
    by_constant.emplace(constant, by_name.at(name));
  runner.update_constant_buffer(by_constant, false, true, true);
}

// Before the first pass.
static void add_packed(int64_t model, int64_t digest, const std::vector<Tensor>& weights) {
  reinterpret_cast<Model*>(model)->weights.emplace(digest, weights);
}

static Tensor run(int64_t model, const std::vector<Tensor>& inputs, bool yields) {
  auto& self = *reinterpret_cast<Model*>(model);
  struct Current {
    explicit Current(const Pass& pass) { current_pass = &pass; }
    ~Current() { current_pass = nullptr; }
  };
  const Pass pass{self, yields};
  const Current current(pass);
  return self.runner.run(inputs).at(0);
}

static void close_library(int64_t model) {
  delete reinterpret_cast<Model*>(model);
}

#define OPERATORS(space, library) TORCH_LIBRARY(space, library)
OPERATORS(CLASSWIRE_NAMESPACE, library) {
  library.def("open", &open_library);
  library.def("weight_names", &weight_names);
  library.def("set_weights", &set_weights);
  library.def("add_packed", &add_packed);
  library.def("run", &run);
  library.def("close", &close_library);
  // The compiled model names the arguments of the operators that it calls.
  library.def(
      "attend_within_texts(Tensor query, Tensor key, Tensor value, Tensor bounds, "
      "Tensor device_bounds, float? scaling, int? window) -> Tensor",
      &attend_within_texts);
  library.def("mean_within_texts(Tensor hidden, Tensor bounds) -> Tensor", &mean_within_texts);
  library.def("int8_product(Tensor codes, int digest, int outputs) -> Tensor", &int8_product);
  library.def(
      "prepacked_product(Tensor states, Tensor? bias, int digest, int outputs) -> Tensor",
      &prepacked_product);
}
