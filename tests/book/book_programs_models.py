"""Programs of chapters 18 to 22, around `Model`: see book_programs.py."""

from __future__ import annotations

# Chapter 18: the model object; three kinds of it, with validation data.
CHAPTER_18 = """
nnfs.init()

X, y = spiral_data(samples=SAMPLES, classes=3)
X_test, y_test = spiral_data(samples=100, classes=3)

model = Model()
model.add(Layer_Dense(2, NEURONS, weight_regularizer_l2=5e-4,
                                  bias_regularizer_l2=5e-4))
model.add(Activation_ReLU())
model.add(Layer_Dropout(RATE))
model.add(Layer_Dense(NEURONS, 3))
model.add(Activation_Softmax())

model.set(
    loss=Loss_CategoricalCrossentropy(),
    optimizer=OPTIMIZER,
    accuracy=Accuracy_Categorical()
)
model.finalize()

model.train(X, y, validation_data=(X_test, y_test),
            epochs=EPOCHS, print_every=100)
"""
CHAPTER_18_BINARY = """
nnfs.init()

X, y = spiral_data(samples=100, classes=2)
X_test, y_test = spiral_data(samples=100, classes=2)
y = y.reshape(-1, 1)
y_test = y_test.reshape(-1, 1)

model = Model()
model.add(Layer_Dense(2, 64, weight_regularizer_l2=5e-4,
                             bias_regularizer_l2=5e-4))
model.add(Activation_ReLU())
model.add(Layer_Dense(64, 1))
model.add(Activation_Sigmoid())

model.set(
    loss=Loss_BinaryCrossentropy(),
    optimizer=Optimizer_Adam(decay=5e-7),
    accuracy=Accuracy_Categorical(binary=True)
)
model.finalize()

model.train(X, y, validation_data=(X_test, y_test),
            epochs=EPOCHS, print_every=100)
"""
CHAPTER_18_REGRESSION = """
nnfs.init()

X, y = sine_data()

model = Model()
model.add(Layer_Dense(1, 64))
model.add(Activation_ReLU())
model.add(Layer_Dense(64, 64))
model.add(Activation_ReLU())
model.add(Layer_Dense(64, 1))
model.add(Activation_Linear())
for layer in model.layers[::2]:
    layer.weights *= 10

model.set(
    loss=Loss_MeanSquaredError(),
    optimizer=Optimizer_Adam(learning_rate=0.005, decay=1e-3),
    accuracy=Accuracy_Regression()
)
model.finalize()

model.train(X, y, epochs=EPOCHS, print_every=100)
"""

# Chapters 19 and 20: images read from a folder, shuffled, scaled, flattened; batches; evaluation.
IMAGES = """
import os
from matplotlib.image import imread

def load_mnist_dataset(dataset, path):
    labels = os.listdir(os.path.join(path, dataset))
    X = []
    y = []
    for label in sorted(labels):
        for file in sorted(os.listdir(os.path.join(path, dataset, label))):
            image = imread(os.path.join(path, dataset, label, file))
            X.append(np.round(image * 255))
            y.append(label)
    return np.array(X), np.array(y).astype('uint8')

def create_data_mnist(path):
    X, y = load_mnist_dataset('train', path)
    X_test, y_test = load_mnist_dataset('test', path)
    return X, y, X_test, y_test
"""
CHAPTER_19 = (
    IMAGES
    + """
nnfs.init()

X, y, X_test, y_test = create_data_mnist('FOLDER')

# Shuffle the training dataset
keys = np.array(range(X.shape[0]))
np.random.shuffle(keys)
X = X[keys]
y = y[keys]

# Scale and reshape samples
X = (X.reshape(X.shape[0], -1).astype(np.float32) - 127.5) / 127.5
X_test = (X_test.reshape(X_test.shape[0], -1).astype(np.float32) - 127.5) / 127.5

model = Model()
model.add(Layer_Dense(X.shape[1], 32))
model.add(Activation_ReLU())
model.add(Layer_Dense(32, 32))
model.add(Activation_ReLU())
model.add(Layer_Dense(32, 3))
model.add(Activation_Softmax())

model.set(
    loss=Loss_CategoricalCrossentropy(),
    optimizer=Optimizer_Adam(decay=1e-3),
    accuracy=Accuracy_Categorical()
)
model.finalize()

model.train(X, y, validation_data=(X_test, y_test),
            epochs=EPOCHS, batch_size=16, print_every=3)
"""
)
CHAPTER_20 = (
    CHAPTER_19
    + """
model.evaluate(X_test, y_test)
model.evaluate(X, y, batch_size=50)
"""
)

# Chapter 21: parameters and whole models, in memory and in files.
CHAPTER_21 = (
    CHAPTER_19
    + """
parameters = model.get_parameters()

model = Model()
model.add(Layer_Dense(X.shape[1], 32))
model.add(Activation_ReLU())
model.add(Layer_Dense(32, 32))
model.add(Activation_ReLU())
model.add(Layer_Dense(32, 3))
model.add(Activation_Softmax())
# No optimizer: this model is not trained
model.set(
    loss=Loss_CategoricalCrossentropy(),
    accuracy=Accuracy_Categorical()
)
model.finalize()
model.evaluate(X_test, y_test)

# Set parameters, then from a file
model.set_parameters(parameters)
model.evaluate(X_test, y_test)
model.save_parameters('PLACE/fashion_mnist.parms')
model.load_parameters('PLACE/fashion_mnist.parms')
model.evaluate(X_test, y_test)

# The whole model
model.save('PLACE/fashion_mnist.model')
model = Model.load('PLACE/fashion_mnist.model')
model.evaluate(X_test, y_test)
"""
)

# Chapter 22: what is in a picture.
CHAPTER_22 = (
    CHAPTER_19
    + """
model.save('PLACE/fashion_mnist.model')

fashion_mnist_labels = {
    0: 'T-shirt/top',
    1: 'Trouser',
    2: 'Pullover',
}

# A photograph is dark on light: invert its colors
image_data = np.round(imread('PICTURE') * 255)
image_data = 255 - image_data
image_data = (image_data.reshape(1, -1).astype(np.float32) - 127.5) / 127.5

model = Model.load('PLACE/fashion_mnist.model')
confidences = model.predict(image_data)
predictions = model.output_layer_activation.predictions(confidences)
prediction = fashion_mnist_labels[predictions[0]]
print(prediction)

confidences = model.predict(X_test[:5])
predictions = model.output_layer_activation.predictions(confidences)
print(predictions)
for prediction in predictions:
    print(fashion_mnist_labels[prediction])
"""
)
