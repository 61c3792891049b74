"""AutoML's model beside our own: brought into the form that the other stages take, and chosen or not."""
